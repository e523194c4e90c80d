"""The tree of distances of a pair."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from heml.distances import bounded_snr
from heml.errors import HemlError
from heml.evaluation.embeddings import NodeEmbeddings
from heml.explanation.figures import pair_figure, positions
from heml.explanation.pairs import explain_stored, held_out_distances, percentile, telling_pairs
from heml.tree import Node, Tree

TREE = Tree([Node("a", 0), Node("b", 0), Node("ab", 1, "a", "b")])


def embeddings(n=40) -> dict[str, NodeEmbeddings]:
    generator = torch.Generator().manual_seed(0)
    result = {}
    for name in ("a", "b", "ab"):
        vectors = torch.randn(n, 8, generator=generator)
        present = np.ones(n, bool)
        if name == "b":
            present[[0, 5]] = False
            vectors[[0, 5]] = torch.nan
        ids = [f"i{k}" for k in range(n)]
        result[name] = NodeEmbeddings(
            name, ids, np.array(["train", "test"] * (n // 2)), np.zeros(n, int), present, [vectors], vectors, "snr"
        )
    return result


def test_distance_and_absence_at_every_node():
    stored = embeddings()
    explanation = explain_stored("i1", "i5", TREE, stored)
    x, y = stored["a"].vectors[1].numpy(), stored["a"].vectors[5].numpy()
    expected = np.var(x - y, ddof=1) / (2 * (np.var(x, ddof=1) + np.var(y, ddof=1)))
    assert explanation.nodes["a"].distance == pytest.approx(expected, rel=1e-5)
    assert np.isnan(explanation.nodes["b"].distance)
    text = str(explanation)
    assert "b  absent in the second" in text
    assert "absent in both" in str(explain_stored("i0", "i5", TREE, stored))
    assert f"a  {expected:.2f}" in text
    assert str(explain_stored("i3", "i3", TREE, stored).nodes["ab"]).startswith("0.00")
    with pytest.raises(HemlError, match="'nobody': not in the data set"):
        explain_stored("i1", "nobody", TREE, stored)


def test_percentiles_are_shares_of_held_out_pairs():
    scale = held_out_distances(embeddings()["a"])
    assert torch.equal(scale, scale.sort().values)
    for q in (5, 50, 90):
        value = float(np.percentile(scale.numpy(), q))
        assert percentile(value, scale) == pytest.approx(float((scale <= value).float().mean()) * 100)
        assert percentile(value, scale) == pytest.approx(q, abs=1)
    assert np.isnan(percentile(float("nan"), scale))
    assert np.isnan(percentile(0.5, torch.zeros(0)))


def test_telling_pairs_are_test_images_used_once():
    pairs = telling_pairs(embeddings(), TREE, 4)
    used = [name for pair in pairs for name in pair]
    assert len(used) == len(set(used)) == 8
    assert all(int(name[1:]) % 2 for name in used)
    assert pairs == telling_pairs(embeddings(), TREE, 4)


def test_telling_pairs_do_not_mind_how_a_node_stretches_its_distances():
    """A leaf whose distances are all a hundred times smaller still disagrees with the root as much."""
    plain, stretched = embeddings(), embeddings()
    constant = torch.zeros(8).index_fill(0, torch.arange(4), 30.0)
    vectors = stretched["a"].vectors
    stretched["a"] = replace(stretched["a"], repeats=[vectors - vectors.mean(1, keepdim=True) + constant])
    first = bounded_snr(plain["a"].vectors[1], plain["a"].vectors[3])
    assert bounded_snr(stretched["a"].vectors[1], stretched["a"].vectors[3]) < first / 20
    pairs = telling_pairs(stretched, TREE, 2)
    top, leaf = (explain_stored(*pairs[0], TREE, stretched).nodes[n].percentile for n in ("ab", "a"))
    other = explain_stored(*pairs[0], TREE, stretched).nodes["b"].percentile
    assert top < 30
    assert max(leaf, np.nan_to_num(other)) > 70


def test_the_figure_has_both_pictures_of_every_node():
    explanation = explain_stored("i1", "i5", TREE, embeddings())
    picture = np.zeros((8, 12, 3), np.uint8)
    figure = pair_figure(explanation, {name: (picture, picture) for name in explanation.nodes})
    assert len(figure.axes[0].images) == 6
    assert {"a", "b", "ab", "absent"} <= {text.get_text() for text in figure.axes[0].texts}


def test_a_parent_stands_above_the_middle_of_its_children():
    place = positions(Tree([Node("a", 0), Node("b", 0), Node("c", 0), Node("ab", 1, "a", "b"), Node("all", 3, "ab", "c")]))
    assert place == {"a": (0, 0), "b": (1, 0), "c": (2, 0), "ab": (0.5, 1), "all": (1.25, 2)}
