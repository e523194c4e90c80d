"""A run's layout and DVC's are one: what `Run` names, against dvc.yaml read as YAML."""

import inspect
import subprocess
import sys

import yaml
from conftest import ROOT

from heml.run import Run

STAGES = [stage.get("do", stage) for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()]
OUTS = {out for stage in STAGES for out in stage.get("outs", ())} | {
    out for stage in STAGES for metrics in stage.get("metrics", ()) for out in metrics
}
NO_OUTS = {"models/checkpoints", "reports/live/${key}/${key}.json"}
"""What is kept while a stage works, for its next start and for who looks on."""

RUN = Run()
FOLDERS = {str(path) for name, path in vars(RUN).items() if name in ("root", "data", "models", "reports")}
METHODS = [method for name, method in inspect.getmembers(RUN, inspect.ismethod) if name != "__init__"]
NAMED = {str(path) for path in vars(RUN).values()} - FOLDERS | {
    str(method(*["${key}"] * len(inspect.signature(method).parameters))) for method in METHODS
}


def test_every_out_is_a_path_that_a_run_names():
    own = {str(RUN.comparison("tree")), *(str(RUN.terms(name)) for name in ("dataset", "segmenter"))}
    assert own == OUTS - NAMED


def test_every_path_that_a_run_names_is_an_out_or_has_outs_in_it_or_lies_in_one():
    def within(path: str, folder: str) -> bool:
        return path == folder or path.startswith(f"{folder}/")

    paths = {path.replace("terms/${key}", "terms/dataset") for path in NAMED}
    lost = {path for path in paths if not any(within(out, path) or within(path, out) for out in OUTS)}
    assert lost == NO_OUTS


def test_the_folders_may_lie_elsewhere(tmp_path):
    run = Run(tmp_path, models="/published")
    assert run.images == tmp_path / "data/images"
    assert str(run.node("hair")) == "/published/nodes/hair.safetensors"
    assert run.report("hair") == tmp_path / "reports/nodes/hair.json"


def test_it_imports_nothing_of_the_project():
    code = "import sys, heml.run; print(*sorted(m for m in sys.modules if m.startswith(('heml', 'torch', 'pandas'))))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert told.split() == ["heml", "heml.run"]
