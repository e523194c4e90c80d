"""The curve of a node while it trains."""

import csv
import json
import math
import shutil
import subprocess

import pytest
from conftest import ROOT
from dvc.repo import Repo
from node_data import make_node_data
from run_data import run_params

from heml.learning import live
from heml.learning.node import build_node
from heml.tree import Node


def read(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_file_grows_by_an_epoch_and_ends_as_the_report(tmp_path, monkeypatch):
    seen = []
    writer = live.curve_writer

    def watched(path, node):
        write = writer(path, node)

        def told(history):
            write(history)
            seen.append(read(path))

        return told

    monkeypatch.setattr("heml.learning.node.curve_writer", watched)
    data = make_node_data(tmp_path)
    settings = run_params().train.model_copy(update={"epochs": 3, "validate_every": 2, "seeds": 2})
    build_node(Node("left", 0), settings, data.run)
    assert [[row["epoch"] for row in rows] for rows in seen] == [["0", "1"], ["0", "1", "2"], ["0", "1", "2", "3"]]
    history = json.loads(data.run.report("left").read_text())["history"]
    for row, known in zip(seen[-1], history, strict=True):
        assert row["node"] == "left"
        for key in ("loss", "val_p1"):
            assert float(row[key] or "nan") == pytest.approx(known.get(key) or math.nan, rel=1e-5, nan_ok=True)


def test_a_network_is_the_same_with_and_without(tmp_path, monkeypatch):
    data = make_node_data(tmp_path)
    weights = []
    for _ in range(2):
        build_node(Node("left", 0), run_params().train, data.run)
        weights.append(data.run.node("left").read_bytes())
        monkeypatch.setattr("heml.learning.node.curve_writer", lambda *_: None)
    assert weights[0] == weights[1]


def test_dvc_draws_the_folder_as_it_is_and_needs_no_lock_for_it(tmp_path):
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / ".dvc" / "plots").mkdir()
    shutil.copy(ROOT / ".dvc" / "plots" / "per_node.json", tmp_path / ".dvc" / "plots")
    for node in ("left", "right"):
        live.curve_writer(tmp_path / "reports" / "live" / f"{node}.csv", node)(
            [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
        )
    command = ["dvc", "plots", "show", "reports/live", "-x", "epoch", "-y", "loss", "-t", "per_node"]
    with Repo(str(tmp_path)) as repo, repo.lock:  # as during `dvc repro`
        done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    drawn = json.loads(done.stdout)
    assert not drawn.get("errors")
    found = {
        path: [(v["node"], float(v["loss"])) for v in plots[0]["content"]["data"]["values"]]
        for path, plots in drawn["data"].items()
    }
    assert found == {f"reports/live/{node}.csv": [(node, 0.5), (node, 0.25)] for node in ("left", "right")}
