"""The tree's distance, decision and vectors against a loop over nodes and pairs, and against FAISS."""

from dataclasses import replace

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heml.distances import nearest
from heml.errors import HemlError
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.pairing import measure
from heml.evaluation.tree_metric import Term, TreeMetric, read_metric, write_metric

NODES = {"hat": 4, "hair": 6, "all": 5}
TERMS = {
    "hat": Term(0.2, 0.1, 0.3, 2.0, 0.6, []),
    "hair": Term(0.5, 0.4, 0.6, 5.0, 0.2, []),
    "all": Term(0.3, 0.2, 0.4, 3.0, 0.4, []),
}
METRIC = TreeMetric(TERMS, "learned", 0.1, [])


def embeddings(n: int = 30, seed: int = 0) -> dict[str, NodeEmbeddings]:
    rng = np.random.default_rng(seed)
    labels, splits = np.arange(n) % 2, np.array((["train", "train", "test"] * n)[:n])
    found = {}
    for k, (name, dims) in enumerate(NODES.items()):
        vectors = torch.from_numpy(rng.normal(size=(n, dims)).astype(np.float32))
        vectors[:, 0] += 1.5 * torch.from_numpy(labels)
        present = np.ones(n, bool) if name == "all" else rng.random(n) > 0.4 * (2 - k)
        vectors[~present] = torch.nan
        found[name] = NodeEmbeddings(
            name, [str(i) for i in range(n)], splits, labels, present, [vectors], vectors, "snr"
        )
    return found


def naive(nodes: dict[str, NodeEmbeddings], a: int, b: int) -> tuple[float, float]:
    """Distance and log-odds, a node at a time."""
    distance = odds = 0.0
    for name, node in nodes.items():
        term = TERMS[name]
        d = term.threshold
        if node.present[a] and node.present[b]:
            d = (1 - np.corrcoef(node.vectors[a].double(), node.vectors[b].double())[0, 1]) / 2
        distance += term.weight * d
        odds += term.slope * (term.threshold - d)
    return distance, odds


def test_distance_and_log_odds_are_those_of_the_loop():
    nodes = embeddings()
    assert any(not node.present.all() for node in nodes.values())
    a, b = (index.ravel() for index in np.indices((30, 30)))
    pairs = measure(nodes, nodes["all"].labels, a, b)
    expected = np.array([naive(nodes, i, j) for i, j in zip(a, b, strict=True)])
    np.testing.assert_allclose(METRIC.distance(pairs.distances), expected[:, 0], atol=1e-6)
    np.testing.assert_allclose(METRIC.log_odds(pairs.distances), expected[:, 1], atol=1e-5)
    np.testing.assert_allclose(METRIC.evidence(pairs.distances).sum(-1), METRIC.log_odds(pairs.distances), atol=1e-12)


def test_log_odds_are_a_line_in_the_distance():
    nodes = embeddings()
    a, b = np.triu_indices(30, 1)
    distances = measure(nodes, nodes["all"].labels, a, b).distances
    expected = METRIC.slope * (METRIC.threshold - METRIC.distance(distances))
    np.testing.assert_allclose(METRIC.log_odds(distances), expected, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_one_vector_per_image_has_the_trees_distance_as_its_product(seed):
    nodes = embeddings(seed=seed)
    vectors = METRIC.vectors(nodes)
    assert vectors.shape == (30, sum(NODES.values()) + len(NODES))
    found = METRIC.metric(vectors, vectors)
    expected = [[naive(nodes, a, b)[0] for b in range(30)] for a in range(30)]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_faiss_finds_the_same_ten_neighbours():
    nodes = embeddings(3000)
    vectors = METRIC.vectors(nodes)
    queries = vectors[:1000] * METRIC.signature(vectors.shape[1])
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors.numpy()))
    products, found = index.search(np.ascontiguousarray(queries.numpy()), 10)
    distances, expected = nearest(vectors[:1000], vectors, 10, METRIC.metric)
    np.testing.assert_allclose(METRIC.threshold - products, distances, atol=1e-6)
    apart = found != expected.numpy()
    assert apart.mean() < 0.001  # images at the same distance to the last bits of a float may change places


def test_a_part_that_is_off_equals_deleting_its_terms():
    nodes = embeddings()
    fewer = {name: term for name, term in TERMS.items() if name != "hat"}
    total = sum(term.weight for term in fewer.values())
    without = TreeMetric(
        {name: replace(term, weight=term.weight / total) for name, term in fewer.items()}, "learned", 0.1, ["hat"]
    )
    silent = {"hat": replace(TERMS["hat"], weight=0.0, slope=0.0)} | without.terms
    zero = TreeMetric(silent, "learned", 0.1, ["hat"])
    a, b = np.triu_indices(30, 1)
    distances = measure(nodes, nodes["all"].labels, a, b).distances
    np.testing.assert_allclose(zero.log_odds(distances), without.log_odds(distances[:, 1:]), atol=1e-12)
    evidence = METRIC.evidence(distances)
    np.testing.assert_allclose(zero.log_odds(distances), METRIC.log_odds(distances) - evidence[:, 0], atol=1e-12)
    np.testing.assert_allclose(zero.distance(distances), without.distance(distances[:, 1:]), atol=1e-12)


def test_percentiles_are_between_those_that_are_kept():
    term = replace(TERMS["hat"], quantiles=[k / 200 for k in range(101)])
    assert term.percentile(0.25) == pytest.approx(50)
    assert (term.percentile(-1), term.percentile(0.9)) == (0, 100)
    assert np.isnan(term.percentile(float("nan")))
    assert np.isnan(TERMS["hat"].percentile(0.2))
    assert term.evidence(float("nan")) == 0


def test_it_is_written_and_read(tmp_path):
    write_metric(tmp_path / "metric.json", METRIC)
    assert read_metric(tmp_path / "metric.json") == METRIC
    with pytest.raises(HemlError, match=r"gone\.json: no metric of the tree; run `dvc repro weigh`"):
        read_metric(tmp_path / "gone.json")
    for text in ("[]", "{", '{"format": 9}', '{"format": 1, "terms": {"a": 3}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(HemlError, match="not a tree's metric of this project"):
            read_metric(tmp_path / "bad.json")
