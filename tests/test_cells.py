"""Text in tables: harmless to a spreadsheet and a terminal, and the same again when the project reads it."""

import csv
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heml.cells import from_cell, to_cell, write_csv
from heml.cli import main
from heml.reading import read_csv

RISKY = st.text(st.sampled_from("'=+-@\t\r\n\\u01b\x1b \u202e\uff1dxy\",;"))


@given(st.text() | RISKY)
def test_a_cell_is_harmless_and_reads_as_what_it_was(text):
    cell = to_cell(text)
    assert from_cell(cell) == text
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", cell)
    if cell[:1] in tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20"):
        float(cell)  # a number


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@a", "'@a"),
        ("-2+3", "'-2+3"),
        ("-2.5", "-2.5"),
        ("plain", "plain"),
        ("'tis", "'tis"),
        ("'=1", "''=1"),
        ("a\x1b[2J", "a\\u001b[2J"),
        ("\\u001b", "\\u005cu001b"),
        ("C:\\users", "C:\\users"),
    ],
)
def test_cells_by_hand(text, cell):
    assert to_cell(text) == cell
    assert from_cell(cell) == text


@given(st.lists(RISKY.filter(bool), min_size=1, max_size=5))
def test_tables_come_back_and_numbers_are_untouched(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    table = pd.DataFrame(
        {"image_id": texts, "value": [-1.25] * len(texts), "flag": [True] * len(texts), "none": [None] * len(texts)}
    )
    write_csv(table, path, "%.4g")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows] == ["-1.25"] * len(texts)
    assert [row["flag"] for row in rows] == ["True"] * len(texts)
    number = "[+-]?(nan|inf(inity)?|[0-9_]+[.]?[0-9_]*(e[+-]?[0-9_]+)?)"  # which a spreadsheet reads as one
    assert not any(
        re.match("[=@+-]", row["image_id"]) and not re.fullmatch(number, row["image_id"], re.I) for row in rows
    )
    assert read_csv(path, "x", ["image_id"], ["image_id"])["image_id"].tolist() == texts
    assert table["image_id"].tolist() == texts


def test_a_table_of_plain_words_is_what_pandas_writes(tmp_path):
    table = pd.DataFrame(
        {"a": ["x", "y, z", 'quo"te', None], "b": [1, 2, 3, 4], "c": [0.123456789, float("nan"), -1, 2]}
    )
    write_csv(table, tmp_path / "ours.csv", "%.3g")
    table.to_csv(tmp_path / "theirs.csv", index=False, float_format="%.3g")
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "theirs.csv").read_bytes()


def test_heml_bias_reads_cells_and_shows_them(tmp_path, capsys):
    (tmp_path / "bias").mkdir()
    (tmp_path / "bias" / "findings.json").write_text('{"findings": [], "caveats": [], "chance": 0.5}')
    table = pd.DataFrame(
        {"part": ["=hair\x1b[2J"], "kind": ["k"], "suspect": [False], "follows": ["-x"], "v_train": [0.5]}
    )
    write_csv(table.assign(v_val=0.1, v_test=0.1), tmp_path / "bias" / "associations.csv")
    main(["bias", "--reports", str(tmp_path), "--all"])
    out = capsys.readouterr().out
    assert " =hair\ufffd[2J k" in out
    assert "follows -x" in out
