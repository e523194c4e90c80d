"""Thresholds, votes and percentiles against loops over every possibility."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from heml.distances import bounded_snr
from heml.errors import HemlError
from heml.evaluation.calibration import Scale, calibrate, pair_distances, ranks, read_calibration, write_calibration
from heml.evaluation.decisions import balanced_accuracy, best_threshold, compose, draw_pairs, vote
from heml.evaluation.embeddings import NodeEmbeddings
from heml.tree import Node, Tree

TREE = Tree([Node("a", 0), Node("b", 0), Node("c", 0), Node("ab", 1, "a", "b"), Node("all", 2, "ab", "c")])


def embeddings(n: int = 60) -> dict[str, NodeEmbeddings]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    splits = np.array(["train", "val", "test"] * (n // 3))
    found = {}
    for k, name in enumerate(TREE.nodes):
        vectors = rng.normal(size=(n, 6)).astype(np.float32)
        vectors[:, 0] += (1 + k) * labels
        present = rng.random(n) > 0.2 if name == "b" else np.ones(n, bool)
        vectors[~present] = np.nan
        tensor = torch.from_numpy(vectors)
        found[name] = NodeEmbeddings(name, [f"i{i}" for i in range(n)], splits, labels, present, [tensor], tensor, "snr")
    return found


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_is_better(seed):
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 9, 25).astype(np.float32) / 9  # with ties
    same = rng.random(25) < 0.4 + 0.4 * (distances < 0.4)
    found = best_threshold(distances, same)
    tried = [balanced_accuracy_score(same, distances <= t) for t in np.linspace(-0.05, 1.05, 300)]
    assert balanced_accuracy_score(same, distances <= found) == pytest.approx(max(max(tried), 0.5))


def test_without_both_kinds_of_pairs_there_is_no_threshold():
    assert np.isnan(best_threshold(np.array([0.1, 0.2], np.float32), np.array([True, True])))
    assert np.isnan(best_threshold(np.zeros(0, np.float32), np.zeros(0, bool)))
    assert vote(np.array([0.1], np.float32), float("nan")).tolist() == [0]


def test_balanced_accuracy_is_scikit_learns_over_the_votes_cast():
    rng = np.random.default_rng(0)
    votes, same = rng.integers(-1, 2, 200).astype(np.int8), rng.random(200) < 0.3
    cast = votes != 0
    assert balanced_accuracy(votes, same) == pytest.approx(balanced_accuracy_score(same[cast], votes[cast] == 1))
    assert np.isnan(balanced_accuracy(votes, np.ones(200, bool)))


def test_decisions_compose_by_majority_from_the_leaves():
    votes = {"a": 1, "b": 1, "c": 0, "ab": -1, "all": -1}
    found = compose(TREE, {name: np.array([v], np.int8) for name, v in votes.items()})
    assert found["ab"] == 1  # both children against its own
    assert found["all"] == -1  # one child for, none from the absent one: its own decides
    assert found["c"] == 0


def test_pairs_are_all_of_them_or_as_many_as_asked_for():
    rows = np.array([3, 5, 8, 9])
    a, b = draw_pairs(rows, 10)
    assert {(int(x), int(y)) for x, y in zip(a, b, strict=True)} == {(3, 5), (3, 8), (3, 9), (5, 8), (5, 9), (8, 9)}
    a, b = draw_pairs(np.arange(100), 50)
    assert len(a) == 50
    assert (a != b).all()
    assert not len(draw_pairs(np.array([1]), 10)[0])


def test_calibration_is_that_of_a_loop_over_pairs(tmp_path):
    stored = embeddings()
    found = calibrate(stored, TREE)
    for name, node in stored.items():
        tested, truth = [], []
        rows = [i for i in range(60) if node.splits[i] == "test" and node.present[i]]
        for k, i in enumerate(rows):
            for j in rows[k + 1 :]:
                tested.append(float(bounded_snr(node.vectors[i], node.vectors[j])))
                truth.append(node.labels[i] == node.labels[j])
        scale = found[name]
        expected = balanced_accuracy_score(truth, np.array(tested) <= scale.threshold)
        assert scale.accuracy == pytest.approx(expected, abs=1e-5)
        assert scale.quantiles[50] == pytest.approx(np.median(tested), abs=1e-5)
        for value in (0.2, 0.5):
            assert scale.percentile(value) == pytest.approx(100 * np.mean(np.array(tested) <= value), abs=3)
    assert found["a"].composed_accuracy == found["a"].accuracy
    write_calibration(tmp_path / "c.json", found)
    assert read_calibration(tmp_path / "c.json") == found


def test_percentiles_stay_within_0_and_100_and_nan_where_unknown():
    scale = Scale(0.5, None, None, np.linspace(0.2, 0.4, 101).tolist())
    assert (scale.percentile(0.1), scale.percentile(0.3), scale.percentile(0.9)) == pytest.approx((0, 50, 100))
    assert np.isnan(scale.percentile(float("nan")))
    assert np.isnan(Scale(None, None, None, []).percentile(0.3))


def test_an_absent_image_has_no_distance():
    node = embeddings()["b"]
    gone, here = int(np.flatnonzero(~node.present)[0]), int(np.flatnonzero(node.present)[0])
    found = pair_distances(node, np.array([gone, here]), np.array([here, here]))
    assert np.isnan(found[0])
    assert found[1] == 0


def test_ranks_are_shares_of_the_known():
    found = ranks(torch.tensor([0.3, torch.nan, 0.1, 0.2, 0.3]))
    assert found.nan_to_num(-1).tolist() == pytest.approx([0.5, -1, 0, 0.25, 0.5])


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(HemlError, match=r"c\.json: no calibration; run `dvc repro calibrate`"):
        read_calibration(tmp_path / "c.json")
    for text in ("[]", "{", json.dumps({"a": {"limit": 1}})):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(HemlError, match="not a calibration of this project"):
            read_calibration(tmp_path / "c.json")
