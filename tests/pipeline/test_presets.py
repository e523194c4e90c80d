"""The paper's three studies, preset by preset, from a hub on 127.0.0.1 to the report."""

import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from mini_hub import mini_hub
from mini_sets import SIDE, Study, serve

from pipeline.conftest import new_project

pytestmark = pytest.mark.pipeline


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub to which every process of this test is pointed."""
    with mini_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield running


def small(params: dict) -> dict:
    """A preset for small images and few epochs; its data, label, segments, tree and models stay as they are."""
    if "limit" in params["dataset"]:
        params["dataset"]["limit"] = {"train": 24, "val": 12, "test": 12}
    params["segmenter"] |= {"size": {"height": SIDE, "width": SIDE}, "batch_size": 16}
    params["canvas"] |= {"height": 32, "width": 32}
    for level in params["tree"].values():
        for node in level.values():
            node.pop("epochs", None)
    params["train"] |= {
        "trunk": "mobilenet_v3_small",
        "hidden_dim": 16,
        "embedding_dim": 8,
        "epochs": 1,
        "batch_size": 8,
        "per_class": 4,
    }
    params["evaluate"]["bootstrap"] = 20
    params["report"] |= {"overlays": 2, "pairs": 1}
    return params


@pytest.mark.parametrize(("name", "nodes"), [("celeba", 31), ("human_parsing", 31), ("scene_parse", 15)])
def test_a_preset_runs_from_the_hub_to_its_report(hub, tmp_path, name, nodes):
    study = Study(name)
    serve(hub, study)
    project = new_project(tmp_path / "project")
    (project.root / "params.yaml").write_text(yaml.safe_dump(small(study.preset), sort_keys=False))
    assert len(re.findall("^train_level_", project.run("dvc", "stage", "list", "--name-only"), re.MULTILINE)) == nodes
    if name == "scene_parse":
        assert project.repro("segmenter") == {"download", "segmenter"}
        assert project.repro("segmenter") == set()
    project.run(sys.executable, str(Path(__file__).with_name("run_stages.py")))
    look_at(project.root, study, nodes)
    fetched = set(hub.fetched())
    assert not fetched & {"pytorch_model.bin", "handler.py"}  # only configuration and safetensors
    if name == "scene_parse":
        assert not any("test/0000" in path for _, path in hub.requests)


def look_at(root: Path, study: Study, nodes: int) -> None:
    """What a finished run must hold."""
    table = pd.read_csv(root / "reports/nodes.csv")
    assert len(table) == nodes
    segmenter = json.loads((root / "reports/segmenter.json").read_text())
    assert segmenter["revision"] == study.preset["segmenter"]["revision"]
    assert ("iou" in segmenter) == ("mask" in study.card)
    if "iou" in segmenter:
        assert segmenter["miou"] > 0.4
    terms = (root / "reports/terms/dataset.txt").read_text()
    assert study.preset["dataset"]["revision"] in terms
    assert f"other, {study.name}-terms" in terms
    assert "Licence: mit" in (root / "reports/terms/segmenter.txt").read_text()
    page = (root / "reports/index.html").read_text()
    assert study.card["title"].split(",")[0] in page
    assert all(node in page for node in table["node"])
