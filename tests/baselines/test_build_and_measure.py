"""Baselines trained, stored and measured on a small data set whose left square is the label."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from node_data import make_node_data

from benchmarks.baselines import tables
from heml.baselines.build import baseline_images, build_baseline, load_baseline, new_baseline
from heml.baselines.evidence_figure import evidence_figure, heat
from heml.baselines.measure import COLUMNS, baseline_row, prepared_pair, tree_row
from heml.errors import HemlError
from heml.evaluation.embeddings import read_all, write_embeddings
from heml.evaluation.table import tree_scores
from heml.evaluation.weighing import weigh
from heml.learning.checkpoints import load_state
from heml.learning.inference import embed
from heml.learning.networks import Architecture, new_network
from heml.learning.node import build_node
from heml.params import Evaluate, Params, Segment, parse_params
from heml.run import Run
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
        update={
            "batch_size": 8,
            "per_class": 4,
            "hidden_dim": 16,
            "embedding_dim": 8,
            "miner": None,
            "lr": 2e-3,
            "flip": False,
        }
    )
    segments = {name: Segment(classes=[name]) for name in ("left", "right")}
    return found.model_copy(update={"train": train, "segments": segments})


@pytest.fixture(scope="module")
def built(tmp_path_factory, params):
    """Every baseline, trained once, on images of 64×64 (so that the last map has 2×2 cells)."""
    data = make_node_data(tmp_path_factory.mktemp("baselines"), side=64)
    return data, {name: build_baseline(name, params, data.run) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_learns_and_its_row_is_whole(built, params, name):
    data, reports = built
    path = data.run.baseline(name)
    header, network = load_baseline(params.baselines[name], path, CPU)
    images = baseline_images(params.baselines[name], header.leaves, data.run)
    row = baseline_row(name, network, header, reports[name], path, images, Evaluate(bootstrap=50))
    assert set(row) == set(COLUMNS)
    assert row["p@1"] >= 0.75 > row["chance"]
    assert row["p@1_low"] <= row["p@1"] <= row["p@1_high"]
    assert row["bytes"] == path.stat().st_size
    assert 0 < row["best_seconds"] <= row["train_seconds"] or reports[name]["best_epoch"] == 0
    assert row["explanation_seconds"] > 0
    assert json.loads(data.run.baseline_report(name).read_text())["val_p1"] == reports[name]["val_p1"]


def test_p_at_1_is_the_share_of_right_nearest_neighbours_under_the_methods_own_distance(built, params):
    data, reports = built
    for name in ("avsl", "diml"):
        path = data.run.baseline(name)
        header, network = load_baseline(params.baselines[name], path, CPU)
        images = baseline_images(params.baselines[name], header.leaves, data.run)
        asked, held = images.rows("test"), images.rows("train")
        q, r = embed(network, images, asked, CPU), embed(network, images, held, CPU)
        with torch.inference_mode():
            hits = [
                images.labels[held[int(network.metric(q[i : i + 1], r).argmin())]] == images.labels[asked[i]]
                for i in range(len(q))
            ]
        row = baseline_row(name, network, header, reports[name], path, images, Evaluate(bootstrap=10))
        assert row["p@1"] == pytest.approx(np.mean(hits))


def test_all_methods_start_from_one_trunk(params):
    root = new_network(params.train, 2, (64, 64)).trunk
    for name in NAMES:
        train = params.baseline(name)
        torch.manual_seed(train.seed)
        trunk = new_baseline(params.baselines[name], Architecture.of(train, 2), (64, 64)).trunk
        for key, value in root.state_dict().items():
            assert torch.equal(value, trunk.state_dict()[key]), (name, key)


@pytest.mark.parametrize("loss", ["snr", "proxy_anchor"])
def test_diml_is_the_traditional_network(built, params, tmp_path, loss):
    data, _ = built
    methods = ("traditional", "diml")
    baselines = ", ".join(f"{method}: {{method: {method}, loss: {loss}, epochs: 1}}" for method in methods)
    text = (ROOT / "params.yaml").read_text("utf-8").replace("baselines: {}", f"baselines: {{{baselines}}}")
    two, run = params.model_copy(update={"baselines": parse_params(text).baselines}), Run(tmp_path, data=data.run.data)
    states = []
    for method in methods:
        build_baseline(method, two, run)
        states.append(load_state(run.baseline(method)))
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_the_background_is_seen_only_where_asked_for(built, params):
    data, _ = built
    masked, whole = (baseline_images(params.baselines[n], ["left", "right"], data.run) for n in ("avsl", "whole"))
    row = np.array([0])
    assert whole.batch(row)[1].all()
    assert whole.size == (64, 64)
    assert not masked.batch(row)[1].all()
    assert (whole.present == masked.present).all()
    np.testing.assert_array_equal(whole.batch(row)[0][0].permute(1, 2, 0).numpy(), data.pixels[0])


@pytest.mark.parametrize("name", NAMES)
def test_evidence_becomes_a_picture(built, params, name, tmp_path):
    data, _ = built
    header, network = load_baseline(params.baselines[name], data.run.baseline(name), CPU)
    images = baseline_images(params.baselines[name], header.leaves, data.run)
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


def test_within_its_own_split_no_image_is_its_own_neighbour(built, params):
    data, reports = built
    for name in ("traditional", "diml"):
        path = data.run.baseline(name)
        header, network = load_baseline(params.baselines[name], path, CPU)
        images = baseline_images(params.baselines[name], header.leaves, data.run)
        images.labels[images.rows("test")] = np.arange(len(images.rows("test")))  # every image its own label
        row = baseline_row(name, network, header, reports[name], path, images, Evaluate(bootstrap=10, search="within"))
        assert row["p@1"] == 0


def test_without_test_images_a_row_has_no_scores(built, params):
    data, reports = built
    path = data.run.baseline("traditional")
    header, network = load_baseline(params.baselines["traditional"], path, CPU)
    images = baseline_images(params.baselines["traditional"], header.leaves, data.run)
    images.splits[images.splits == "test"] = "train"
    row = baseline_row("traditional", network, header, reports["traditional"], path, images, Evaluate(bootstrap=10))
    assert set(row) == set(COLUMNS)
    assert np.isnan([row["p@1"], row["p@1_low"], row["explanation_seconds"], row["images_per_second"]]).all()
    assert row["queries"] == 0


def test_an_unknown_baseline_and_wrong_settings_are_errors(params):
    with pytest.raises(HemlError, match="baselines has no 'x'; it has traditional"):
        params.baseline("x")
    text = (ROOT / "params.yaml").read_text("utf-8")
    for wrong, message in [
        ("a: {method: magic}", "baselines.a: .*'traditional', 'avsl', 'diml', 'grouping'"),
        ("avsl: {method: avsl, groups: 2}", "baselines.avsl.groups: unknown key; allowed here: background"),
        ("avsl: {method: avsl, miner: all}", "baselines.avsl.miner: unknown key"),
        ("avsl: {method: avsl, loss: snr}", "baselines.avsl.loss: .*'triplet_margin' or 'proxy_anchor'.*got 'snr'"),
        ("tree: {method: diml}", "baselines.tree: the tree itself"),
        (
            "g: {method: grouping, groups: 64, embedding_dim: 32}",
            r"baselines.g.groups: at most embedding_dim \(32\), not 64",
        ),
        ("g: {method: grouping, loss: proxy_anchor}", "baselines.g.loss: 'proxy_anchor' has class centres"),
        ("g: {method: traditional, batch_size: 33}", r"baselines.g: batch_size \(33\)"),
    ]:
        with pytest.raises(HemlError, match=message):
            parse_params(text.replace("baselines: {}", f"baselines: {{{wrong}}}"))


def test_another_loss_brings_its_own_miner_and_only_traditional_keeps_the_embedder(params):
    text = (
        (ROOT / "params.yaml")
        .read_text("utf-8")
        .replace("  trunk: resnet18:2\n", "  trunk: resnet18:2\n  embedder: horde\n")
    )
    found = parse_params(
        text.replace(
            "baselines: {}",
            "baselines: {a: {method: traditional, loss: ntxent}, b: {method: diml, miner: null}, c: {method:"
            " traditional}}",
        )
    )
    assert found.train.miner == "semihard"
    assert [found.baseline(name).miner for name in "abc"] == [None, None, "semihard"]
    assert [found.baseline(name).embedder for name in "abc"] == ["horde", "plain", "horde"]


def test_the_comparison_as_markdown(built, params):
    data, reports = built
    rows = []
    for name in ("traditional", "avsl"):
        path = data.run.baseline(name)
        header, network = load_baseline(params.baselines[name], path, CPU)
        images = baseline_images(params.baselines[name], header.leaves, data.run)
        rows.append(baseline_row(name, network, header, reports[name], path, images, Evaluate(bootstrap=0)))
    text = tables(pd.DataFrame(rows, columns=COLUMNS))
    assert f"| avsl | **{100 * rows[1]['p@1']:.1f}** | ––– |" in text
    assert f"majority {100 * rows[0]['majority']:.1f}" in text
    assert len({line.count("|") for line in text.split("\n\n")[2].splitlines()}) == 1


def test_the_trees_row_adds_up_its_nodes(tmp_path, params):
    run = make_node_data(tmp_path).run
    tree = Tree([Node("left", 0), Node("right", 0), Node("both", 1, "left", "right")])
    train = params.train.model_copy(update={"epochs": 1})
    reports = [build_node(node, train, run) for node in tree]
    write_embeddings(tree, run)
    embeddings = read_all(run.embeddings, tree)
    scores, _ = tree_scores(embeddings, tree, weigh(embeddings, tree, params.metric, "train"), Evaluate(bootstrap=10))
    row = tree_row(tree, scores, reports, run)
    assert set(row) == set(COLUMNS)
    assert row["p@1"] == scores["p@1"]
    assert row["train_seconds"] == pytest.approx(sum(report["seconds"] for report in reports))
    assert row["bytes"] == sum(path.stat().st_size for path in run.nodes.glob("*.safetensors"))
    twice = [report | {"repeats": report["repeats"] * 2} for report in reports]
    halved = tree_row(tree, scores, twice, run)
    assert halved["train_seconds"] == pytest.approx(row["train_seconds"] / 2)
    assert halved["bytes"] == pytest.approx(row["bytes"] / 2, abs=3)
    spent = sum(report["present"]["train"] / report["images_per_second"] for report in reports)
    assert row["train_images_per_second"] == pytest.approx(
        sum(report["present"]["train"] for report in reports) / spent
    )
