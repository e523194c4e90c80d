"""A run as a model repository: what is in it, what its card says, and what opens it, from a folder and from a hub."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from mini_hub import mini_hub, use_hub
from published_run import make_finished, make_masked

import heml
from heml.cli import main
from heml.errors import HemlError
from heml.explanation.metric_tree import MetricTree
from heml.explanation.views import View
from heml.exporting.model_repo import write_model_repo
from heml.learning.checkpoints import load_header, load_state, save_node
from heml.run import Run
from heml.sealed import seal, unseal

COMMIT = "c" * 40


def export(run: Path, to: Path, licence: str = "other") -> Path:
    write_model_repo(MetricTree.load(run / "models", run / "data"), Run(run), run / "params.yaml", to, licence)
    return to


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> Path:
    return make_masked(tmp_path_factory.mktemp("masked"))


@pytest.fixture(scope="module")
def finished(masked, tmp_path_factory) -> Path:
    return make_finished(masked, tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory) -> Path:
    return export(finished, tmp_path_factory.mktemp("hub") / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with mini_hub() as running:
        use_hub(running.endpoint, tmp_path / "cache", monkeypatch)
        yield running


def told(tree: MetricTree, run: Path) -> dict:
    return tree.explain(run / "a.png", run / "b.png").to_dict()


def test_the_folder_is_the_runs_own_bytes(folder, finished):
    found = contents(folder)
    segmenter = ["config.json", "model.safetensors", "preprocessor_config.json"]
    nodes = [f"nodes/{name}.safetensors" for name in ("left", "right", "both")]
    assert sorted(found) == sorted(
        ["README.md", "metric.json", "params.yaml", *nodes, *(f"segmenter/{name}" for name in segmenter)]
    )
    for name in ("metric.json", *nodes):
        assert found[name] == (finished / "models" / name).read_bytes()
    assert found["params.yaml"] == (finished / "params.yaml").read_bytes()


def test_files_are_explained_as_the_run_explains_them(folder, finished, tmp_path):
    shutil.copytree(folder, tmp_path / "moved")
    known = told(MetricTree.load(finished / "models", finished / "data"), finished)
    assert any(node["evidence"] for node in known["nodes"].values())
    assert told(heml.MetricTree.from_pretrained(tmp_path / "moved"), finished) == known


def test_from_the_hub_only_the_run_is_fetched_and_explains_the_same(hub, folder, finished):
    beside = {
        "handler.py": b"import os",
        "nodes/other.safetensors": b"x",
        "segmenter/pytorch_model.bin": b"pickle",
        "data/big.parquet": b"y",
    }
    hub.add("model", "team/tree", COMMIT, contents(folder) | beside)
    tree = MetricTree.from_pretrained("team/tree", revision=COMMIT)
    assert told(tree, finished) == told(MetricTree.load(finished / "models", finished / "data"), finished)
    fetched = {path.name for path in tree.run.models.rglob("*") if path.is_file()}
    assert fetched.isdisjoint(Path(name).name for name in beside)
    assert {"left.safetensors", "right.safetensors", "both.safetensors", "metric.json", "model.safetensors"} <= fetched
    before = len(hub.requests)
    assert told(MetricTree.from_pretrained("team/tree", revision=COMMIT), finished)
    assert len(hub.requests) == before


def test_masks_make_a_repository_for_views_and_it_says_so(masked, finished, tmp_path):
    folder = export(masked, tmp_path / "out")
    card = (folder / "README.md").read_text()
    assert "**No segmenter is in here:**" in card
    assert "from heml.explanation.views import View" in card
    tree = MetricTree.from_pretrained(folder)
    with pytest.raises(HemlError, match="stands for the data set's own masks, which no new image has"):
        tree.explain(finished / "a.png", finished / "b.png")
    run = MetricTree.load(masked / "models", masked / "data")
    stored = [run.view(image_id) for image_id in run.gallery.canvases.image_ids[3:7:3]]
    bare = [View(view.name, view.canvas, view.masks, {}) for view in stored]
    for made, known in zip(tree.explain(*bare).nodes.values(), run.explain(*stored).nodes.values(), strict=True):
        assert made.evidence == pytest.approx(known.evidence, abs=1e-3)
        assert made.present == known.present


def test_the_cards_head_is_what_the_hub_reads(finished, tmp_path):
    card = ModelCard.load(export(finished, tmp_path / "out", "cc-by-4.0") / "README.md")
    metrics = json.loads((finished / "reports" / "metrics.json").read_text())
    assert (card.data.license, card.data.library_name) == ("cc-by-4.0", "heml")
    assert {"heml", "metric-learning"} <= set(card.data.tags)
    assert {r.metric_type: r.metric_value for r in card.data.eval_results}["tree_p@1"] == metrics["tree_p@1"]
    other = ModelCard.load(export(finished, tmp_path / "other") / "README.md").data
    assert (other.license, other.license_name) == ("other", "terms-in-the-card")


def rendered(card: str) -> list:
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(ModelCard(card).text)


def test_the_cards_numbers_are_those_of_the_reports(folder, finished):
    tokens = rendered((folder / "README.md").read_text())
    cells, rows = [], []
    for token, inner in pairwise(tokens):
        if token.type == "td_open":
            cells.append("".join(child.content for child in inner.children))
        elif token.type == "tr_close":
            rows.append(cells)
            cells = []
    table = pd.read_csv(finished / "reports" / "nodes.csv").set_index("node")
    found = {row[0]: row[1:] for row in rows if row}
    assert list(found) == ["whole tree", "both", "left", "right"]
    for name, row in table.iterrows():
        percents = [
            f"{100 * row[key]:.1f}" for key in ("p@1", "p@1_low", "p@1_high", "chance", "majority", "p@1_untrained")
        ]
        assert found[name] == [percents[0], f"{percents[1]} to {percents[2]}", *percents[3:], str(row["queries"])]


def test_nothing_from_data_is_markup_in_the_card(folder, finished):
    card = (folder / "README.md").read_text()
    kinds = {child.type for token in rendered(card) for child in [token, *(token.children or [])]}
    assert kinds.isdisjoint({"html_block", "html_inline", "link_open", "image"})
    blocks = [token.content for token in rendered(card) if token.type == "code_block"]
    assert any("Terms of the dataset<script>" in block for block in blocks)
    bias = json.loads((finished / "reports" / "bias" / "findings.json").read_text())
    text = [token.content.replace("\\", "") for token in rendered(card) if token.type == "inline"]
    assert set(bias["caveats"]) <= set(text)


def hostile_metric(folder: Path, name: str) -> None:
    path = folder / "metric.json"
    metric = unseal(json.loads(path.read_text()))
    metric["terms"][name] = metric["terms"].pop("both")
    path.write_text(json.dumps(seal(metric)))


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "nodes/both", "..", "a b", ""])
def test_a_name_that_leads_elsewhere_opens_and_fetches_nothing(hub, folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "evil")
    hostile_metric(tmp_path / "evil", name)
    with pytest.raises(HemlError, match="no name of a node or a segment; do not use it"):
        MetricTree.from_pretrained(tmp_path / "evil")
    hub.add("model", "evil/tree", COMMIT, contents(tmp_path / "evil"))
    with pytest.raises(HemlError, match=r"model evil/tree at c+: names .* no name of a node"):
        MetricTree.from_pretrained("evil/tree", revision=COMMIT)
    assert not hub.fetched(".safetensors")


@pytest.mark.parametrize(
    "change", [{"children": ["../left", "right"]}, {"leaves": ["left", "../../x"]}, {"lineage": {"node=../../x": "0"}}]
)
def test_a_header_that_leads_elsewhere_is_not_followed(folder, tmp_path, change):
    shutil.copytree(folder, tmp_path / "evil")
    path = Run(models=tmp_path / "evil").node("both")
    save_node(path, replace(load_header(path), **change), [load_state(path)])
    with pytest.raises(HemlError, match="no name of a node or a segment; do not use it"):
        MetricTree.from_pretrained(tmp_path / "evil")


@pytest.mark.parametrize(
    ("source", "revision", "said"),
    [
        ("team/tree", None, "name the commit to use"),
        ("team/tree", "main", "instead of 'main', which may move"),
        ("../tree", None, "no folder here and no hub id"),
        ("team/tree/../x", COMMIT, "no folder here and no hub id"),
        ("team/none", COMMIT, "the hub has no such repository"),
        ("team/tree", "d" * 40, "the repository has no such commit"),
        ("team/other", COMMIT, "has no metric.json, so it is no metric tree"),
        ("team/half", COMMIT, "has no file 'nodes/right.safetensors'"),
        (str(ROOT), COMMIT, "is a folder here, which has no revisions"),
        (str(ROOT), None, "no metric of the tree"),
    ],
)
def test_what_cannot_be_opened_says_why(hub, folder, source, revision, said):
    whole = contents(folder)
    hub.add("model", "team/tree", COMMIT, whole)
    hub.add("model", "team/other", COMMIT, {"README.md": b"x"})
    hub.add("model", "team/half", COMMIT, {name: content for name, content in whole.items() if "right" not in name})
    with pytest.raises(HemlError, match=said):
        MetricTree.from_pretrained(source, revision=revision)


def test_what_does_not_belong_together_is_not_exported(finished, tmp_path):
    run = Run(finished)
    tree = MetricTree.load(finished / "models", finished / "data")
    with pytest.raises(HemlError, match="has another tree than"):
        write_model_repo(tree, run, ROOT / "params.yaml", tmp_path / "out")
    with pytest.raises(HemlError, match=r"nodes\.csv: no such file; run `dvc repro evaluate` first"):
        write_model_repo(tree, Run(finished, reports=tmp_path), finished / "params.yaml", tmp_path / "out")
    with pytest.raises(HemlError, match="'CC BY' is no identifier of a licence"):
        write_model_repo(tree, run, finished / "params.yaml", tmp_path / "out", "CC BY")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_the_folder(masked, tmp_path, capsys):
    places = [
        f"--{name}={masked / path}"
        for name, path in (("models", "models"), ("reports", "reports"), ("params", "params.yaml"))
    ]
    main(["export", "hub", str(tmp_path / "out"), "--data", str(tmp_path), "--licence", "mit", *places])
    out = capsys.readouterr().out
    assert str(tmp_path / "out") in out
    assert "explains views that bring their masks, and no image files" in out
    assert ModelCard.load(tmp_path / "out" / "README.md").data.license == "mit"
