"""The curve of a network while it trains."""

import json
import shutil
import subprocess
from contextlib import ExitStack, contextmanager

import pytest
import yaml
from conftest import ROOT
from dvc.repo import Repo
from node_data import make_node_data
from run_data import run_params

from heml.errors import HemlError
from heml.learning import live
from heml.learning.distillation import build_student
from heml.learning.node import build_node
from heml.params import Student
from heml.tree import Node


@pytest.fixture
def told(monkeypatch):
    """What the files said after every epoch, in order."""
    seen, made = [], live.live_curve

    @contextmanager
    def watched(path, name):
        with made(path, name) as write:

            def both(history):
                write(history)
                seen.append(json.loads(path.read_text()))

            yield both

    for module in ("node", "distillation"):
        monkeypatch.setattr(f"heml.learning.{module}.live_curve", watched)
    return seen


def row(entry: dict) -> dict:
    return {key: entry[key] for key in live.COLUMNS}


def test_the_file_grows_by_an_epoch_and_goes_when_training_ends(tmp_path, told):
    data = make_node_data(tmp_path)
    settings = run_params().train.model_copy(update={"epochs": 3, "validate_every": 2, "seeds": 2})
    build_node(Node("left", 0), settings, data.run)
    history = json.loads(data.run.report("left").read_text())["history"]
    assert [len(file["epochs"]) for file in told] == [2, 3, 4] * 2  # the start among them, for every repeat
    assert [row(entry) for entry in history[1:]] == told[2]["epochs"][1:]
    assert [file["left"] for file in told] == [file["epochs"][-1] for file in told]
    assert [entry["val_p1"] is None for entry in told[2]["epochs"]] == [True, False, True, False]
    assert not data.run.live("nodes", "left").exists()


def test_a_student_has_one_too(tmp_path, told):
    data = make_node_data(tmp_path)
    train = run_params().train
    build_node(Node("left", 0), train, data.run)
    del told[:]
    build_student("small", Student(teacher="left", trunk="resnet18:2", epochs=2), train, data.run)
    history = json.loads(data.run.student_report("small").read_text())["history"]
    assert told[-1] == {"small": row(history[-1]), "epochs": [told[-1]["epochs"][0], *map(row, history[1:])]}
    assert not data.run.live("students", "small").exists()


def test_where_training_fails_the_file_stays(tmp_path):
    path = tmp_path / "left.json"
    with pytest.raises(HemlError), live.live_curve(path, "left") as write:
        write([{"epoch": 1, "loss": 0.5}])
        raise HemlError("lower lr")
    assert json.loads(path.read_text())["left"] == {"epoch": 1, "loss": 0.5, "val_p1": None}


def test_a_network_is_the_same_with_and_without(tmp_path, monkeypatch):
    data = make_node_data(tmp_path)
    weights = []

    @contextmanager
    def nobody(*_):
        yield None

    for _ in range(2):
        build_node(Node("left", 0), run_params().train, data.run)
        weights.append(data.run.node("left").read_bytes())
        monkeypatch.setattr("heml.learning.node.live_curve", nobody)
    assert weights[0] == weights[1]


@pytest.fixture
def project(tmp_path):
    """A clone without a run: what dvc.yaml names for tables and plots of training, with the folder as it is in git."""
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    named = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    plots = [plot for plot in named["plots"] if "reports/live" in plot]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"metrics": named["metrics"], "plots": plots}))
    tracked = subprocess.run(["git", "ls-files", "reports/live"], cwd=ROOT, capture_output=True, text=True, check=True)
    (tmp_path / "reports/live").mkdir(parents=True)
    for name in (".gitignore", ".dvcignore", *tracked.stdout.split()):
        shutil.copy(ROOT / name, tmp_path / name)
    for command in (["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def asked(project, *command) -> dict:
    """DVC's answer, if it had nothing to complain of."""
    done = subprocess.run(["dvc", *command, "--json"], cwd=project, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def metrics(project) -> dict:
    (workspace, *_) = asked(project, "exp", "show")
    return {path: found["data"] for path, found in workspace["data"]["metrics"].items()}


def test_dvc_shows_epochs_while_a_stage_has_its_lock_and_misses_nothing_between(project):
    assert metrics(project) == {}
    assert "errors" not in asked(project, "plots", "show")
    history = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_p1": 0.75}]
    with Repo(str(project)) as repo, repo.lock, ExitStack() as training:  # as during `dvc repro`
        for node in ("left", "right"):
            training.enter_context(live.live_curve(project / "reports/live/nodes" / f"{node}.json", node))(history)
        assert metrics(project) == {
            f"reports/live/nodes/{node}.json": {node: {"epoch": 2, "loss": 0.25, "val_p1": 0.75}}
            for node in ("left", "right")
        }
        drawn = asked(project, "plots", "show")["data"]
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True)
        assert changed.stdout == ""
    for node in ("left", "right"):
        (plot,) = drawn[f"reports/live/nodes/{node}.json"]
        points = plot["content"]["data"]["values"]
        assert [(p["field"], p["epoch"], p[p["field"]]) for p in points] == [
            ("loss", 1, 0.5), ("loss", 2, 0.25), ("val_p1", 1, None), ("val_p1", 2, 0.75),
        ]  # fmt: skip
    assert metrics(project) == {}
