"""Declared code is the code that is used: what a stage's script imports, however far down, is among its dependencies in
dvc.yaml."""

import ast
from pathlib import Path, PurePosixPath

import pytest
import yaml
from conftest import ROOT

from benchmarks.structure import imported

ELSEWHERE = {"heml/params", "heml/running"} | {
    f"heml/{name}.py"
    for name in (
        *"__init__ errors atomic json_file lifetime progress reading run sealed tree".split(),
        *"imports machine row_groups fetch terms".split(),
    )
}
"""What decides no result of a stage, or reaches it as a parameter (docs/architecture.md). So does what a stage reaches
only through these: `params` takes the losses' names and options from `heml/losses`."""
ADAPTERS = ROOT / "heml" / "datasets" / "adapters.py"
"""Imports a module beside it by a name that is known when it runs."""
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def _modules(path: Path) -> list[str]:
    """Files of the project that a file imports anywhere in it, by path."""
    names = [name for name in imported(ast.parse(path.read_text("utf-8"))) if name.startswith(("heml", "stages"))]
    places = (name.replace(".", "/") for name in names)
    found = [file for place in places for file in (f"{place}.py", f"{place}/__init__.py") if (ROOT / file).is_file()]
    if path == ADAPTERS:
        found += [str(other.relative_to(ROOT)) for other in path.parent.glob("*.py")]
    return found


def _covered(file: str, declared: set[str]) -> bool:
    return not declared.isdisjoint({file, *map(str, PurePosixPath(file).parents)})


def _used(script: str) -> set[str]:
    """A script and all that it imports."""
    used, waiting = set(), [script]
    while waiting:
        file = waiting.pop()
        if file not in used and not _covered(file, ELSEWHERE):
            used.add(file)
            waiting += _modules(ROOT / file)
    return used


def undeclared(stage: dict) -> set[str]:
    """Files that a stage's script uses and its dependencies do not name."""
    stage = stage.get("do", stage)
    declared = {d for d in stage["deps"] if d.startswith(("heml", "stages"))}
    script = stage["cmd"].removeprefix("python -m ").split()[0].replace(".", "/") + ".py"
    return {file for file in _used(script) if not _covered(file, declared)} - {"stages/__init__.py"}


@pytest.mark.parametrize("name", STAGES)
def test_what_a_stage_uses_is_what_it_declares(name):
    assert undeclared(STAGES[name]) == set()


@pytest.mark.parametrize("name", STAGES)
def test_without_any_of_its_code_a_stage_would_be_found_out(name):
    """Also: nothing is declared that is not used."""
    stage = STAGES[name].get("do", STAGES[name])
    for code in [d for d in stage["deps"] if d.startswith(("heml", "stages"))]:
        assert undeclared(stage | {"deps": [d for d in stage["deps"] if d != code]}), f"{code} is declared and not used"
