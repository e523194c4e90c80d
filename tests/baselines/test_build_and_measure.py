"""Baselines trained, stored and measured on a small data set whose left square is the label."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT
from node_data import make_node_data

from heml.baselines.build import baseline_images, build_baseline, load_baseline, new_baseline
from heml.baselines.measure import COLUMNS, baseline_row, prepared_pair, tree_row
from heml.baselines.pictures import evidence_figure, heat
from heml.datasets.store import read_description
from heml.errors import HemlError
from heml.evaluation.embeddings import read_all, write_embeddings
from heml.evaluation.table import node_table
from heml.learning.embedding import embed
from heml.learning.networks import new_network
from heml.learning.node import build_node
from heml.learning.store import load_header, node_path
from heml.params import Evaluate, Params, parse_params
from heml.tree import Node, Tree

CPU = torch.device("cpu")
BASELINES = """
  traditional: {method: traditional, epochs: 4}
  whole: {method: traditional, epochs: 4, background: true}
  avsl: {method: avsl, loss: triplet_margin, epochs: 4, links: 3}
  avsl_proxy: {method: avsl, loss: proxy_anchor, epochs: 4, links: 3}
  diml: {method: diml, epochs: 4}
  grouping: {method: grouping, epochs: 4}
"""
NAMES = ["traditional", "whole", "avsl", "avsl_proxy", "diml", "grouping"]


@pytest.fixture(scope="module")
def params() -> Params:
    text = (ROOT / "params.yaml").read_text("utf-8").replace("baselines: {}", f"baselines: {BASELINES}")
    found = parse_params(text)
    train = found.train.model_copy(
        update={"batch_size": 8, "per_class": 4, "hidden_dim": 16, "embedding_dim": 8, "miner": None, "lr": 2e-3, "flip": False}
    )
    return found.model_copy(update={"train": train})


@pytest.fixture(scope="module")
def built(tmp_path_factory, params):
    """Every baseline, trained once, on images of 64×64 (so that the last map has 2×2 cells)."""
    root = tmp_path_factory.mktemp("baselines")
    data = make_node_data(root, side=64)
    reports = {
        name: build_baseline(
            name, params.baselines[name], params.baseline(name), ["left", "right"], data.canvases, data.segments,
            root / "models", root / "reports" / f"{name}.json",
        )
        for name in NAMES
    }  # fmt: skip
    return data, root, reports


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_learns_and_its_row_is_whole(built, params, name):
    data, root, reports = built
    path = node_path(root / "models", name)
    header, network = load_baseline(params.baselines[name], params.baseline(name), path, CPU)
    images = baseline_images(params.baselines[name], data.canvases, data.segments, header.leaves)
    row = baseline_row(name, network, header, reports[name], path, images, Evaluate(bootstrap=50))
    assert set(row) == set(COLUMNS)
    assert row["p@1"] >= 0.75 > row["chance"]
    assert row["p@1_low"] <= row["p@1"] <= row["p@1_high"]
    assert row["bytes"] == path.stat().st_size
    assert 0 < row["best_seconds"] <= row["train_seconds"] or reports[name]["best_epoch"] == 0
    assert row["explanation_seconds"] > 0
    assert json.loads((root / "reports" / f"{name}.json").read_text())["val_p1"] == reports[name]["val_p1"]


def test_p_at_1_is_the_share_of_right_nearest_neighbours_under_the_methods_own_distance(built, params):
    data, root, reports = built
    for name in ("avsl", "diml"):
        path = node_path(root / "models", name)
        header, network = load_baseline(params.baselines[name], params.baseline(name), path, CPU)
        images = baseline_images(params.baselines[name], data.canvases, data.segments, header.leaves)
        asked, held = images.rows("test"), images.rows("train")
        q, r = embed(network, images, asked, CPU), embed(network, images, held, CPU)
        with torch.inference_mode():
            hits = [images.labels[held[int(network.metric(q[i : i + 1], r).argmin())]] == images.labels[asked[i]] for i in range(len(q))]
        row = baseline_row(name, network, header, reports[name], path, images, Evaluate(bootstrap=10))
        assert row["p@1"] == pytest.approx(np.mean(hits))


def test_all_methods_start_from_one_trunk(params):
    trunks = [new_baseline(params.baselines[name], params.baseline(name), 2, (64, 64)).trunk for name in NAMES]
    root = new_network(params.train, 2, (64, 64)).trunk
    for trunk in trunks:
        for key, value in root.state_dict().items():
            assert torch.equal(value, trunk.state_dict()[key]), key


def test_diml_is_the_traditional_network(built):
    _, root, reports = built
    assert reports["diml"]["val_p1"] == reports["traditional"]["val_p1"]
    one, other = (load_header(node_path(root / "models", name)) for name in ("traditional", "diml"))
    assert (one.architecture.embedder, other.architecture.embedder) == ("traditional", "diml")


def test_the_background_is_seen_only_where_asked_for(built, params):
    data, _, _ = built
    masked, whole = (baseline_images(params.baselines[n], data.canvases, data.segments, ["left", "right"]) for n in ("avsl", "whole"))
    row = np.array([0])
    assert whole.batch(row)[1].all()
    assert whole.size == (64, 64)
    assert not masked.batch(row)[1].all()
    assert (whole.present == masked.present).all()
    np.testing.assert_array_equal(whole.batch(row)[0][0].permute(1, 2, 0).numpy(), data.pixels[0])


@pytest.mark.parametrize("name", NAMES)
def test_evidence_becomes_a_picture(built, params, name, tmp_path):
    data, root, _ = built
    header, network = load_baseline(params.baselines[name], params.baseline(name), node_path(root / "models", name), CPU)
    images = baseline_images(params.baselines[name], data.canvases, data.segments, header.leaves)
    evidence = network.evidence(*prepared_pair(images, 2, 3, CPU))
    x0, y0, x1, y1 = header.box
    first, second = (data.pixels[i, y0:y1, x0:x1] for i in (2, 3))
    for maps in evidence.maps.values():
        assert all(m.shape == first.shape[:2] for m in maps)
    figure = evidence_figure(name, evidence, first, second)
    figure.savefig(tmp_path / "picture.png")
    assert len(figure.axes) == 2 * len(evidence.maps)


def test_heat_tints_what_matters_and_greys_the_rest():
    picture = np.full((4, 4, 3), (200, 30, 30), np.uint8)
    saliency = torch.zeros(4, 4)
    saliency[0, 0] = 1
    found = heat(picture, saliency).astype(int)
    assert np.ptp(found[3, 3]) == 0
    assert np.ptp(found[0, 0]) > 30


def test_an_unknown_baseline_and_wrong_settings_are_errors(params):
    with pytest.raises(HemlError, match="baselines has no 'x'; it has traditional"):
        params.baseline("x")
    text = (ROOT / "params.yaml").read_text("utf-8")
    for wrong, message in [
        ("a: {method: magic}", "baselines.a: .*'traditional', 'avsl', 'diml', 'grouping'"),
        ("avsl: {method: avsl, groups: 2}", "baselines.avsl.groups: unknown key; allowed here: background"),
        ("tree: {method: diml}", "baselines.tree: the tree itself"),
    ]:
        with pytest.raises(HemlError, match=message):
            parse_params(text.replace("baselines: {}", f"baselines: {{{wrong}}}"))


def test_the_trees_row_adds_up_its_nodes(tmp_path, params):
    data = make_node_data(tmp_path)
    tree = Tree([Node("left", 0), Node("right", 0), Node("both", 1, "left", "right")])
    train = params.train.model_copy(update={"epochs": 1})
    reports = [build_node(node, train, data.canvases, data.segments, tmp_path / "models", tmp_path / f"{node.name}.json") for node in tree]
    write_embeddings(tree, data.canvases, data.segments, tmp_path / "models", tmp_path / "embeddings")
    segments = {name: params.segments["hair"].model_copy(update={"classes": [name]}) for name in ("left", "right")}
    table = node_table(
        tree, read_all(tmp_path / "embeddings", tree), segments, read_description(tmp_path / "images"), Evaluate(bootstrap=10)
    )
    row = tree_row(tree, table, reports, data.canvases, data.segments, tmp_path / "models")
    assert set(row) == set(COLUMNS)
    assert row["p@1"] == table.set_index("node").loc["both", "p@1"]
    assert row["train_seconds"] == pytest.approx(sum(report["seconds"] for report in reports))
    assert row["bytes"] == sum(path.stat().st_size for path in (tmp_path / "models").glob("*.safetensors"))
    spent = sum(report["present"]["train"] / report["images_per_second"] for report in reports)
    assert row["train_images_per_second"] == pytest.approx(sum(report["present"]["train"] for report in reports) / spent)
