"""The documents name what there is: no name that does not run, none left out."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, docs_script

import heml
from heml.baselines.build import new_baseline
from heml.errors import fault
from heml.explanation.metric_tree import MetricTree
from heml.explanation.pairs import Explanation
from heml.explanation.views import View
from heml.learning.networks import Architecture
from heml.params import (
    EMBEDDERS,
    LOSSES,
    METHOD_KINDS,
    MINERS,
    TRUNKS,
    Bias,
    Evaluate,
    Metric,
    Segmenter,
    Train,
    parse_params,
)

PAGES = docs_script("reference").PAGES
TUTORIAL = docs_script("tutorial")

RECIPES = re.findall(
    r'^```(\w+) title="([^"]+)"\n(.*?)^```$',
    (ROOT / "docs" / "recipes.md").read_text("utf-8"),
    re.MULTILINE | re.DOTALL,
)
"""Kind, file and body of each block."""

BASELINES = (ROOT / "docs" / "baselines.md").read_text("utf-8")
METHODS = (ROOT / "docs" / "methods.md").read_text("utf-8")


def first_column(heading: str) -> list[str]:
    section = METHODS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_the_tables_are_those_of_the_parameters():
    assert first_column("Losses") == list(LOSSES)
    assert first_column("Miners") == list(MINERS)
    assert first_column("Trunks") == list(TRUNKS) or sorted(first_column("Trunks")) == sorted(TRUNKS)
    assert first_column("Embedders and feature augmentation") == list(EMBEDDERS)
    assert set(first_column("Optimisation")) <= set(Train.model_fields)


def test_options_and_their_defaults_are_those_of_the_parameters():
    section = METHODS.split("\n## Losses\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if not line.startswith("| `"):
            continue
        name, options = (part.strip() for part in line.split("|")[1:3])
        said = {key: float(value) for key, value in re.findall(r"(\w+) (\d+(?:\.\d+)?)", options)}
        assert said == LOSSES[name.strip("`")], name


def test_the_presets_are_whole_parameter_files():
    for path in [ROOT / "params.yaml", *(ROOT / "presets").glob("*.yaml")]:
        assert parse_params(path.read_text("utf-8"), path.name).tree
        assert yaml.safe_load(path.read_text("utf-8"))["report"]["title"]


def test_the_block_of_baselines_can_be_pasted_into_every_preset():
    block = BASELINES.split("```yaml\n")[1].split("```")[0]
    for path in [ROOT / "params.yaml", *(ROOT / "presets").glob("*.yaml")]:
        lines = path.read_text("utf-8").splitlines()
        text = "\n".join(line for line in lines if not line.startswith("baselines:")) + "\n" + block
        params = parse_params(text, path.name)
        size = (max(params.canvas.height, 64), max(params.canvas.width, 64))  # as the text says
        for name, settings in params.baselines.items():
            train = params.baseline(name)
            assert train.epochs == 25
            network = new_baseline(settings, Architecture.of(train, 2), size)
            assert settings.method == "diml" or network.aim(train, 2).loss


def test_the_methods_and_their_defaults_are_those_of_the_parameters():
    rows = [line.split("|")[1:3] for line in BASELINES.splitlines() if line.startswith("| `")]
    known = {kind.model_fields["method"].annotation.__args__[0]: kind for kind in METHOD_KINDS}
    assert [name.strip(" `") for name, _ in rows] == list(known)
    own = {"method", "background", *Train.model_fields}
    for name, options in rows:
        kind = known[name.strip(" `")]
        said = {key: float(value) for key, value in re.findall(r"(\w+) (\d+(?:\.\d+)?)", options)}
        defaults = {key: field.default for key, field in kind.model_fields.items() if key not in own}
        assert said == {key: value for key, value in defaults.items() if isinstance(value, (int, float))}
        assert all(key in options for key in defaults)


def test_the_reference_is_what_the_code_says():
    """Else: python docs/reference.py."""
    for name, made in PAGES.items():
        assert (ROOT / "docs" / "reference" / name).read_text("utf-8") == made(), (
            f"{name}: run python docs/reference.py"
        )


def test_every_key_is_in_the_reference_with_a_meaning():
    page = (ROOT / "docs" / "reference" / "parameters.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    told = {row[0] for row in rows if len(row) == 4 and row[3]}
    assert not {row[0] for row in rows if len(row) == 4} - told
    for heading, kind in {
        "train": Train,
        "segmenter": Segmenter,
        "evaluate": Evaluate,
        "metric": Metric,
        "bias": Bias,
    }.items():
        section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        said = dict(re.findall(r"^\| `(\w+)` \|.*?\| (?:\[.*?\| )?([^|]*) \| [^|]*\|$", section, re.M))
        for key, field in kind.model_json_schema()["properties"].items():
            if "$ref" not in field and "allOf" not in field:
                assert yaml.safe_load(said[key].strip("`")) == field["default"], (heading, key)


def test_the_first_page_says_what_the_committed_run_found():
    page = (ROOT / "docs" / "start.md").read_text("utf-8")
    metrics = json.loads((ROOT / "reports" / "metrics.json").read_text("utf-8"))
    (evaluated,) = re.findall(r"^\| `evaluate` .*?`(tree_p@1 [^`]*)`", page, re.MULTILINE)
    said = dict(pair.split(" ") for pair in evaluated.split(", "))
    assert len(said) >= 4
    assert said == {name: f"{metrics[name]:.3f}" for name in said}
    assert f"`portrait: P@1 on val {metrics['root_p@1_val']:.3f}`" in page
    share, low, high = (100 * metrics[f"tree_p@1{end}"] for end in ("", "_low", "_high"))
    assert f"same label: {share:.3g} %, within {low:.3g} and {high:.3g} %" in " ".join(page.split())


def test_every_public_name_and_its_methods_are_in_the_reference():
    page = (ROOT / "docs" / "reference" / "python.md").read_text("utf-8")
    for name in heml.__all__:
        assert f"`heml.{name}`" in page
    for kind in (MetricTree, Explanation, View):
        names = [name for name in vars(kind) if not name.startswith("_")]
        assert names
        assert not [name for name in names if f"{kind.__name__}.{name}\n" not in page and f"| `{name}` |" not in page]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to which the recipes have been applied, all of them."""
    root = tmp_path_factory.mktemp("followed")
    for name in ("benchmarks", "docs", "heml", "stages", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    assert len(RECIPES) > 10
    workspace = TUTORIAL.Workspace.__new__(TUTORIAL.Workspace)
    workspace.root = root
    for kind, file, body in RECIPES:
        if kind == "diff":
            workspace.change(body, file)
        else:
            assert not (root / file).exists(), f"{file} is no new file"
            (root / file).write_text(body, "utf-8")
    return root


def in_copy(root: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_recipes_make_what_they_say(followed):
    in_copy(followed, "docs/reference.py")
    assert "| `lifted` | pos_margin 0, neg_margin 1 |" in (followed / "docs/reference/parameters.md").read_text("utf-8")
    in_copy(followed, "tests/recipes_run.py")
    touched = {file for _, file, _ in RECIPES if file.endswith(".py")}
    in_copy(followed, "-m", "ruff", "check", *touched)
    in_copy(followed, "-m", "ruff", "format", "--check", *touched)
    held = ["tests/test_run.py", "tests/test_structure.py"]
    own = [*held, "tests/losses/test_lifted.py", "tests/datasets/test_sorted.py"] + [
        f"tests/test_docs.py::{name}"
        for name in ("test_the_tables_are_those_of_the_parameters", "test_the_reference_is_what_the_code_says")
    ]
    own += ["tests/test_dependencies.py", "tests/datasets/test_adapters.py::test_a_kind_has_the_adapter_of_its_name"]
    in_copy(followed, "-m", "pytest", "-p", "no:cacheprovider", *own)


@pytest.mark.pipeline
def test_the_tutorial_runs_and_says_what_stands_there(tmp_path):
    """Numbers are this machine's; what is claimed of them, and all but single lines, must hold on any."""
    page = TUTORIAL.PAGE.read_text("utf-8")
    now = TUTORIAL.executed(page, TUTORIAL.Workspace(tmp_path))
    lines = [re.sub(r"[-−+]?\d[\d.]*", "#", text).split("\n") for text in (page, now)]
    assert SequenceMatcher(None, *lines, autojunk=False).ratio() > 0.9
    claims(now)


def test_the_committed_tutorial_says_what_its_numbers_say():
    claims(TUTORIAL.PAGE.read_text("utf-8"))


def claims(page: str) -> None:
    """What the tutorial's prose says of its output."""
    told = re.findall(r"^(glasses: colour tells .*?)^(?:```|  tied|\$)", page, re.MULTILINE | re.DOTALL)
    before, after = (" ".join(text.split()) for text in told)
    assert all(f"{node} from" in before for node in ("glasses", "eyewear", "upper face", "portrait"))
    assert "glasses from" in after
    assert "eyewear from" in after
    assert "upper face from" not in after
    assert "portrait from" not in after
    assert "cannot be told" in before
    assert re.search("1[0-9]{2} test images|the 100 test images", page)
    ran = re.search(r"^\$ heml repro \| cut.*?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert ran is not None
    assert [name for name in ran[1].split() if name.startswith("train")] == [
        f"train_level_{level}@{node}" for level, node in enumerate(("glasses", "eyewear", "upper_face", "portrait"))
    ]
    for metric in ("root_p@1", "tree_p@1"):
        found = re.search(rf"{re.escape(metric)} +([\d.]+) +([\d.]+) ", page)
        assert found is not None
        assert float(found[1]) < float(found[2])


def test_the_tutorials_script_puts_output_below_commands_and_refuses_what_fails(tmp_path):
    workspace = TUTORIAL.Workspace.__new__(TUTORIAL.Workspace)
    workspace.root = tmp_path
    (tmp_path / "params.yaml").write_text("a: 1\nb: {}  # a comment\n")
    page = (
        "```diff\n-b: {}\n+b: {c: 2}\n```\n\n```console\n$ cat params.yaml\nold\n```\n\n```python\nprint(6 *"
        " 7)\n```\n\n```text\n```\n"
    )
    made = TUTORIAL.executed(page, workspace)
    assert "```console\n$ cat params.yaml\na: 1\nb: {c: 2}\n```" in made
    assert "```text\n42\n```" in made
    with pytest.raises(SystemExit, match="exited with 1"):
        TUTORIAL.executed("```console\n$ false | cat\n```\n", workspace)
    with pytest.raises(AssertionError, match="0 times"):
        TUTORIAL.executed("```diff\n-d: 1\n+d: 2\n```\n", workspace)


def wording(node: ast.AST) -> str | None:
    """The text that an expression stands for, with … for what is put into it; of `fault`, the whole error."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fault":
        return str(fault(*(wording(argument) or "…" for argument in node.args)))
    return None


def messages() -> list[str]:
    """Every text in the code that holds words, with … for what is put into it."""
    files = [*(ROOT / "heml").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return [text for node in nodes if (text := wording(node)) is not None]


def test_every_error_of_the_questions_is_one_of_the_code():
    page = (ROOT / "docs" / "faq.md").read_text("utf-8")
    quoted = re.findall(r"^error: (.*)$", page, re.MULTILINE)
    assert len(quoted) > 30

    def words(text: str) -> str:
        return re.sub(r"…[… ]*…|…", "…", text)

    known = {words(message) for message in messages()}
    assert [
        text for text in quoted if words(text) not in known and words(text) not in {f"…{message}" for message in known}
    ] == []
