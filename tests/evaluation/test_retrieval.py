"""Retrieval metrics against naive loops and the library's AccuracyCalculator."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from heml.evaluation.retrieval import floors, interval, score


def data(seed=0, q=30, r=50):
    rng = np.random.default_rng(seed)
    ql, rl = rng.integers(0, 3, q), rng.integers(0, 3, r)
    qx, rx = rng.normal(size=(q, 6)) + ql[:, None] * 0.5, rng.normal(size=(r, 6)) + rl[:, None] * 0.5
    return torch.tensor(qx, dtype=torch.float32), ql, torch.tensor(rx, dtype=torch.float32), rl


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("cells", [1, 70, 1 << 23])
def test_against_the_library(within, cells, monkeypatch):
    monkeypatch.setattr("heml.evaluation.retrieval._CELLS", cells)
    qx, ql, rx, rl = data()
    ours = score(qx, ql, qx, ql, "euclidean", True) if within else score(qx, ql, rx, rl, "euclidean")
    calculator = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        k="max_bin_count",
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False)),
    )
    theirs = (
        calculator.get_accuracy(qx, torch.tensor(ql))
        if within
        else calculator.get_accuracy(qx, torch.tensor(ql), rx, torch.tensor(rl), ref_includes_query=False)
    )
    assert ours["p@1"].mean() == pytest.approx(theirs["precision_at_1"])
    assert ours["r_precision"].mean() == pytest.approx(theirs["r_precision"])
    assert ours["map@r"].mean() == pytest.approx(theirs["mean_average_precision_at_r"])


def test_precision_at_k_divides_by_k_in_a_naive_loop():
    qx, ql, rx, rl = data(1)
    ours = score(qx, ql, rx, rl, "snr")
    for i in range(len(qx)):
        d = [float((qx[i] - r).var() / qx[i].var()) for r in rx]
        hits = (rl[np.argsort(d)] == ql[i]).astype(float)
        assert ours["p@1"][i] == hits[0]
        assert ours["p@2"][i] == hits[:2].sum() / 2
        assert ours["p@8"][i] == hits[:8].sum() / 8
        assert ours["any_hit@2"][i] == (hits[0] or hits[1])
        assert ours["any_hit@8"][i] == min(hits[:8].sum(), 1)
    few = score(qx[:4], ql[:4], rx[:3], rl[:3], "euclidean")
    assert few["p@8"].max() <= 3 / 8


def test_a_label_that_no_reference_has_scores_nothing():
    qx, ql, rx, rl = data()
    scores = score(qx, np.full_like(ql, 9), rx, rl, "snr")
    assert scores["p@1"].sum() == scores["r_precision"].sum() == scores["map@r"].sum() == 0


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for i in range(200):
        low, high = interval((rng.random(100) < 0.7).astype(float), 300, i)
        covered += low <= 0.7 <= high
    assert 0.88 <= covered / 200 <= 0.99
    assert np.isnan(interval(np.array([]), 100)).all()
    assert np.isnan(interval(np.array([1.0]), 0)).all()


def test_floors_by_hand():
    chance, majority = floors(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]))
    assert chance == pytest.approx(0.75 * 0.25 + 0.25 * 0.75)
    assert majority == pytest.approx(0.25)
