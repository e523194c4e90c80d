"""Determinism, a shared cache, and experiments."""

import json
import re
import shutil

import pandas as pd
import pytest

from pipeline.conftest import NODES, Project, new_project

pytestmark = pytest.mark.pipeline

MODELS_AND_SEGMENTS = ("models/", "data/segments")


def test_two_clean_runs_give_the_same_hashes(finished, tmp_path):
    other = new_project(tmp_path / "other")
    other.repro("weigh")
    assert other.hashes(*MODELS_AND_SEGMENTS) == finished.hashes(*MODELS_AND_SEGMENTS)
    assert len(other.hashes("models/nodes")) == len(NODES)


@pytest.fixture
def colleague(project: Project, tmp_path) -> Project:
    """A fresh clone that knows the remote to which the cache was pushed, and has none of the raw data."""
    project.run("dvc", "remote", "add", "-d", "team", str(tmp_path / "remote"))
    project.run("git", "commit", "-qam", "Add a remote")
    project.run("dvc", "push", "--run-cache")
    project.run("git", "clone", "-q", str(project.root), str(tmp_path / "clone"))
    return Project(tmp_path / "clone")


def test_a_colleague_pulls_the_segments_and_the_nodes_and_runs_nothing(colleague, finished):
    colleague.run("dvc", "pull", "manifest", "train_level_0", "train_level_1", "train_level_2")
    table = pd.read_parquet(colleague.root / "data" / "segments")
    assert len(table) == 3 * 48
    assert {p.stem for p in (colleague.root / "models" / "nodes").iterdir()} == NODES
    assert not (colleague.root / "data" / "labelmaps").exists()
    shutil.copytree(finished.root / "data" / "raw", colleague.root / "data" / "raw", dirs_exist_ok=True)
    assert colleague.repro("--pull") == set()
    assert (colleague.root / "reports" / "index.html").is_file()


def test_the_run_cache_spares_a_run_that_a_colleague_has_done(colleague, project, finished):
    shutil.copytree(finished.root / "data" / "raw", colleague.root / "data" / "raw", dirs_exist_ok=True)
    project.set(tree__level_0__hair={"epochs": 2})
    project.repro()
    project.run("dvc", "push", "--run-cache")
    colleague.run("dvc", "pull", "--run-cache")
    colleague.set(tree__level_0__hair={"epochs": 2})
    assert not {stage for stage in colleague.repro("--pull") if stage.startswith("train_")}
    assert colleague.hashes("models/nodes") == project.hashes("models/nodes")


def test_experiments_are_run_queued_and_compared(project):
    """Queued experiments run in a copy of what git and DVC track, so the raw images stand at an absolute path."""
    project.set(dataset__path=str(project.root / "data" / "raw"))
    assert "train_level_0@hair" not in project.repro()
    project.run("git", "commit", "-qam", "Name the images by an absolute path")
    project.run("dvc", "exp", "run", "-n", "wide", "-S", "train.margin=0.2")
    project.run("dvc", "exp", "run", "--queue", "-n", "twice", "-S", "+tree.level_0.hair.epochs=2")
    project.run("dvc", "exp", "run", "--queue", "-n", "area", "-S", "train.weighting=area")
    project.run("dvc", "queue", "start")
    project.run("dvc", "queue", "logs", "twice", "--follow")
    project.run("dvc", "queue", "logs", "area", "--follow")
    status = project.run("dvc", "queue", "status")
    assert status.count("Success") == 2, status
    shown = json.loads(project.run("dvc", "exp", "show", "--json").split("\n")[0])
    found = {}
    for branch in shown:
        for experiment in branch.get("experiments") or []:
            revision = experiment["revs"][0]
            found[revision["name"]] = revision["data"]["metrics"]["reports/metrics.json"]["data"]["root_p@1"]
    assert set(found) == {"wide", "twice", "area"}
    assert all(0 <= value <= 1 for value in found.values())
    table = project.run("dvc", "exp", "show", "--csv")
    assert "train.margin" in table
    assert "root_p@1" in table


def test_dvc_plots_draw_bars_and_curves(project):
    project.run("dvc", "plots", "show", "-o", "drawn")
    page = (project.root / "drawn" / "index.html").read_text()
    assert len(re.findall(r'"\$schema"|vega-lite', page)) >= 3
    for field in ("p@1", "val_p1", "loss"):
        assert f'"field": "{field}"' in page
