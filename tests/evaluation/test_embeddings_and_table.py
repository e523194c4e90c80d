"""Embeddings on disk, and the table made from them."""

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch
from node_data import linked, make_node_data

from heml.errors import HemlError
from heml.evaluation.embeddings import embed_node, read_all, read_embeddings, stored_tree, write_embeddings
from heml.evaluation.table import COLUMNS, evaluate_node, node_limit, node_table, summary, tree_scores
from heml.evaluation.weighing import weigh
from heml.images.shards import Description
from heml.learning.checkpoints import load_header, load_network
from heml.learning.inference import embed
from heml.learning.inputs import compose
from heml.learning.networks import new_network
from heml.learning.node import build_node
from heml.params import Evaluate, Metric, Segment, Train
from heml.tree import Node, Tree

TREE = Tree([Node("left", 0), Node("right", 0), Node("both", 1, "left", "right")])
SEGMENTS = {name: Segment(classes=[name]) for name in ("left", "right")}
NOTHING_KNOWN = Description("t", "colour", ["red", "blue"])


def table_of(embeddings, description, settings):
    metric = weigh(embeddings, TREE, Metric(), "train")
    return node_table(TREE, embeddings, metric, SEGMENTS, description, settings, Metric()), metric


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = make_node_data(tmp_path_factory.mktemp("run"), absent_every=3)
    settings = Train(epochs=2, batch_size=8, per_class=4, hidden_dim=16, embedding_dim=8)
    for node in TREE:
        build_node(node, settings, data.run)
    write_embeddings(TREE, data.run)
    return data.run


def test_embeddings_are_the_networks_and_null_where_absent(run):
    stored = read_embeddings(run.embeddings, "right")
    header, network = load_network(run.node("right"), torch.device("cpu"))
    images = compose(["right"], run, header.box)
    rows = np.flatnonzero(images.present)
    assert torch.allclose(stored.vectors[rows], embed(network, images, rows, torch.device("cpu")), atol=1e-6)
    assert stored.vectors[~torch.from_numpy(images.present)].isnan().all()
    assert (stored.present == images.present).all()


def test_the_untrained_floor_is_the_common_initialisation(run):
    for node in ("left", "both"):
        header = load_header(run.node(node))
        images = compose(header.leaves, run, header.box)
        rows = np.flatnonzero(images.present)
        common = new_network(Train(hidden_dim=16, embedding_dim=8), 2, images.size)
        stored = read_embeddings(run.embeddings, node)
        assert torch.allclose(stored.untrained[rows], embed(common, images, rows, torch.device("cpu")), atol=1e-6)
        assert not torch.allclose(stored.untrained[rows], stored.vectors[rows], atol=1e-2)


def test_a_node_can_be_scored_under_what_it_was_trained_under(run):
    embeddings = read_embeddings(run.embeddings, "left")
    assert embeddings.distance == "snr"
    assert evaluate_node(embeddings, Evaluate(distance="trained", bootstrap=0)) == pytest.approx(
        evaluate_node(embeddings, Evaluate(distance="snr", bootstrap=0)), nan_ok=True
    )


def test_pandas_and_duckdb_open_them_as_they_are(run):
    table = pd.read_parquet(run.embeddings)
    assert set(table["node"]) == {"left", "right", "both"}
    assert table[table["node"] == "right"]["embedding"].isna().sum() == 16
    path = run.embeddings / "*" / "*.parquet"
    row = duckdb.sql(
        f"select count(*), max(len(embedding)) from read_parquet('{path}', hive_partitioning=true) where present"
    ).fetchall()
    assert row == [(48 + 48 + 32, 8)]


def test_the_table_counts_only_present_images_and_knows_no_limit(run):
    embeddings, settings = read_all(run.embeddings, TREE), Evaluate(bootstrap=50)
    table, metric = table_of(embeddings, NOTHING_KNOWN, settings)
    table = table.set_index("node")
    assert list(table.reset_index().columns) == COLUMNS
    assert table.loc["right", "queries"] == 8
    assert table.loc["right", "coverage"] == pytest.approx(8 / 12)
    assert table.loc["left", "p@1"] >= 0.9
    assert table.loc["left", "p@1_low"] <= table.loc["left", "p@1"] <= table.loc["left", "p@1_high"]
    assert table["limit"].isna().all()
    assert table.loc["both", "segments"] == "left right"
    scores, _ = tree_scores(embeddings, TREE, metric, settings)
    found = summary(table.reset_index(), "both", scores)
    assert {"tree_p@1", "tree_auc", "tree_ece", "root_p@1", "root_map@r", "root_p@1_val", "nodes_p@1"} <= set(found)
    assert next(iter(found)) == "tree_p@1"
    assert table["weight"].sum() == pytest.approx(1)


def test_repeats_give_mean_and_deviation(run):
    first = read_embeddings(run.embeddings, "left")
    assert np.isnan(evaluate_node(first, Evaluate(bootstrap=0))["p@1_sd"])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(first.vectors.shape, generator=generator)
    both = replace(first, repeats=[first.vectors, noise])
    scores = [evaluate_node(replace(first, repeats=[v]), Evaluate(bootstrap=0))["p@1"] for v in both.repeats]
    row = evaluate_node(both, Evaluate(bootstrap=0))
    assert row["p@1"] == scores[0]
    assert (row["p@1_mean"], row["p@1_sd"]) == pytest.approx((np.mean(scores), np.std(scores, ddof=1)))


def test_limits_are_those_of_the_classes_a_node_sees(run):
    evidence = {"left": [[0.4, 0.1], [0.1, 0.4], [0, 0]], "right": [[0.25, 0.25], [0.25, 0.25], [0, 0]]}
    description = Description("t", "colour", ["red", "blue"], evidence=evidence)
    embeddings = read_all(run.embeddings, TREE)
    table, metric = table_of(embeddings, description, Evaluate(bootstrap=0))
    table = table.set_index("node")
    assert table["limit"].to_dict() == pytest.approx({"left": 0.8, "right": 0.5, "both": 0.8})
    assert table.loc["left", "p@1/limit"] == pytest.approx(table.loc["left", "p@1"] / 0.8)
    scores, _ = tree_scores(embeddings, TREE, metric, Evaluate(bootstrap=0))
    found = summary(table.reset_index(), "both", scores)
    assert found["tree_to_limit"] == pytest.approx(scores["p@1"] / 0.8, abs=1e-6)
    assert "root_to_limit" in found


def test_the_tree_is_known_from_the_stored_nodes_alone(run):
    tree = stored_tree(run, ["left", "right", "both"])
    assert tree.root == "both"
    assert tree.leaves("both") == ["left", "right"]
    # in the order of the metric's terms, whatever the alphabet says
    for names in (
        ["right", "left", "both"],
        ["left", "right", "both"],
    ):
        assert list(stored_tree(run, names).nodes) == names
    with pytest.raises(HemlError, match=r"node=nose.*no such file; run .dvc repro embed"):
        read_embeddings(run.embeddings, "nose")


def test_of_identities_the_limit_is_known_where_all_of_them_is_seen():
    labels = np.repeat(np.arange(4), 3)
    description = Description("t", "who", list("abcd"), looks={"left": [0, 0, 1, 2], "right": [0, 1, 0, 0]})
    assert node_limit(["left", "right"], SEGMENTS, description, labels) == 1
    assert np.isnan(node_limit(["left"], SEGMENTS, description, labels))
    alike = replace(description, looks={"left": [0, 0, 1, 2], "right": [0, 0, 0, 0]})
    assert node_limit(["left", "right"], SEGMENTS, alike, labels) == pytest.approx((6 * 2 / 5 + 6) / 12)


def test_a_hidden_part_is_masked_out_of_the_nodes_above_it(run, tmp_path):
    hidden = Tree(list(TREE), ["right"])
    other = linked(run, tmp_path / "hidden")
    write_embeddings(hidden, other)
    plain, blind = read_all(run.embeddings, TREE), read_all(other.embeddings, hidden)
    header, network = load_network(run.node("both"), torch.device("cpu"))
    images = compose(["left"], run, header.box)
    rows = np.flatnonzero(images.present)
    torch.testing.assert_close(
        blind["both"].vectors[rows], embed(network, images, rows, torch.device("cpu")), atol=1e-6, rtol=0
    )
    assert not torch.allclose(blind["both"].vectors[rows], plain["both"].vectors[rows], atol=1e-3)
    for leaf in ("left", "right"):
        torch.testing.assert_close(blind[leaf].vectors, plain[leaf].vectors, equal_nan=True)
    alone = embed_node("both", ["left"], run)
    torch.testing.assert_close(alone.vectors, blind["both"].vectors, equal_nan=True)
    metric = weigh(blind, hidden, Metric(off=["right"]), "train")
    assert metric.hidden == ["right"]
    assert {name: term.slope > 0 for name, term in metric.terms.items()}["both"]  # which sees nothing of what is off
    assert metric.terms["right"].slope == 0
