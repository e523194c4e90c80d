"""docs/results/: every table is what a command printed, and stands in one page."""

import json
import re
import sys

import pytest
from conftest import ROOT, docs_script

results = docs_script("results")

PAGES = sorted((ROOT / "docs" / "results").glob("*.md"))
KEPT = sorted((ROOT / "docs" / "results" / "tables").glob("*.json"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_has_its_tables_as_they_are_kept(page):
    text = page.read_text("utf-8")
    assert results.filled(text) == text, "run `python docs/results.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_no_table_is_typed(page):
    lines = page.read_text("utf-8").split("\n")
    heads = [k for k, line in enumerate(lines) if re.fullmatch(r"\|(-+\|)+", line)]
    typed = [lines[k - 1] for k in heads if not re.fullmatch(r"<!-- [a-z0-9-]+ -->", lines[k - 2])]
    assert not typed


def test_every_table_stands_in_one_page_with_its_command():
    marks = [name for page in PAGES for name in re.findall(r"<!-- ([a-z0-9-]+) -->", page.read_text("utf-8"))]
    assert sorted(marks) == sorted(path.stem for path in KEPT)
    for path in KEPT:
        table = json.loads(path.read_text("utf-8"))
        assert re.match(r"(python -m benchmarks\.|python docs/|dvc |heml |make |pytest )", table["command"]), path.name
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}


def test_every_page_is_reached_from_the_first():
    first = (ROOT / "docs" / "results" / "index.md").read_text("utf-8")
    assert {page.name for page in PAGES} - {"index.md"} <= set(re.findall(r"\]\(([a-z]+\.md)\)", first))


def test_the_readme_says_nothing_else():
    """Every number of its section on results stands in a kept table."""
    said = (ROOT / "README.md").read_text("utf-8").split("## Results")[1].split("## How")[0]
    kept = "".join(path.read_text("utf-8") for path in KEPT)
    numbers = re.findall(r"\d+\.\d+", said)
    assert len(numbers) > 10
    assert [number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", kept)] == []


def test_a_commands_tables_are_kept_as_printed(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "TABLES", tmp_path)
    command = [sys.executable, "-c", r"print('x\n\n| a | |\n|---|---|\n| 1 | −2 |\n\n| b |\n|---|\n| 3 |')"]
    results.keep(["one", "-"], command)
    kept = results.Table.read(tmp_path / "one.json")
    assert (kept.columns, kept.rows) == (["a", ""], [["1", "−2"]])
    assert not (tmp_path / "-.json").exists()
    page = "before\n<!-- one -->\n{}\nafter"
    assert results.filled(page.format("| old |\n")) == page.format("| a | |\n|---|---|\n| 1 | −2 |\n")
    with pytest.raises(SystemExit, match="printed 2 tables"):
        results.keep(["one"], command)


def test_a_row_that_does_not_fit_its_head_is_refused():
    with pytest.raises(ValueError, match="2 cells under 1 columns"):
        list(results.printed("| a |\n|---|\n| 1 | 2 |\n", "make"))
