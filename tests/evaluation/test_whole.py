"""The whole tree's distance against a loop over nodes and pairs."""

import numpy as np
import pytest
import torch

from heml.distances import bounded_snr
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.whole import tree_metric, tree_scores
from heml.params import Evaluate


def embeddings(n: int = 30) -> dict[str, NodeEmbeddings]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    splits = np.array(["train", "train", "test"] * (n // 3))
    found = {}
    for k, (name, dims) in enumerate({"hat": 4, "hair": 6, "all": 5}.items()):
        vectors = torch.from_numpy(rng.normal(size=(n, dims)).astype(np.float32))
        vectors[:, 0] += 1.5 * torch.from_numpy(labels)
        present = np.ones(n, bool) if name == "all" else rng.random(n) > 0.4 * (2 - k)
        vectors[~present] = torch.nan
        found[name] = NodeEmbeddings(name, [str(i) for i in range(n)], splits, labels, present, [vectors], vectors, "snr")
    return found


def naive(nodes: dict[str, NodeEmbeddings], a: int, b: int) -> float:
    distances = [float(bounded_snr(n.vectors[a], n.vectors[b])) for n in nodes.values() if n.present[a] and n.present[b]]
    return float(np.mean(distances)) if distances else float("inf")


def test_the_distance_is_the_mean_over_the_nodes_that_both_have():
    nodes = embeddings()
    assert any(not n.present.all() for n in nodes.values())
    vectors = torch.cat([n.vectors for n in nodes.values()], 1)
    found = tree_metric([4, 6, 5])(vectors[:7], vectors)
    expected = [[naive(nodes, a, b) for b in range(len(vectors))] for a in range(7)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_images_without_a_common_node_are_infinitely_far_apart():
    rows = torch.tensor([[1.0, 2.0, torch.nan, torch.nan], [torch.nan, torch.nan, 1.0, 2.0]])
    assert torch.isinf(tree_metric([2, 2])(rows[:1], rows[1:])).all()


@pytest.mark.parametrize("search", ["train", "within"])
def test_scores_are_those_of_the_nearest_by_the_loop(search):
    nodes = embeddings()
    top = nodes["all"]
    asked = top.rows("test")
    held = asked if search == "within" else top.rows("train")
    hits = []
    for a in asked:
        nearest = min((b for b in held if b != a), key=lambda b: naive(nodes, a, b))
        hits.append(top.labels[nearest] == top.labels[a])
    found = tree_scores(nodes, "all", Evaluate(bootstrap=100, search=search))
    assert found["tree_p@1"] == pytest.approx(np.mean(hits), abs=1e-6)
    assert found["tree_p@1_low"] <= found["tree_p@1"] <= found["tree_p@1_high"]
    assert 0 < found["tree_map@r"] < 1


def test_without_test_images_there_are_none():
    nodes = embeddings()
    for node in nodes.values():
        node.splits[:] = "train"
    assert tree_scores(nodes, "all", Evaluate()) == {}
