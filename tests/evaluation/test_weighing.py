"""Weights: the optimum against another solver, and what comes of planted truths."""

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize

from heml.errors import HemlError
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.pairing import Pairs
from heml.evaluation.weighing import (
    PENALTIES,
    best_slopes,
    choose_penalty,
    evidence_per_slope,
    fit,
    folds_of,
    held_out_losses,
    losses,
    thresholds_of,
    weigh,
    weight_intervals,
    without_each,
)
from heml.params import Metric
from heml.tree import Node, Tree

TREE = Tree([Node("a", 0), Node("b", 0), Node("ab", 1, "a", "b")])


def planted(strengths, n=4000, images=100, seed=0, absent=0.1) -> Pairs:
    """Distances that differ between same and different pairs by as many deviations as each node's strength."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.5
    d = 0.5 + 0.1 * rng.normal(size=(n, len(strengths))) - 0.05 * np.outer(2 * same - 1, strengths)
    d[rng.random(d.shape) < absent] = np.nan
    return Pairs(rng.integers(0, images, n), rng.integers(images, 2 * images, n), same, d)


@pytest.mark.parametrize("penalty", [0.3, 0.003])
def test_the_optimum_is_another_solvers(penalty):
    pairs = planted([1.0, 0.2, 0.0])
    x, omega = evidence_per_slope(pairs, thresholds_of(pairs)), pairs.weights()
    found = best_slopes(x, pairs.same, omega, [penalty])[0]
    unit = best_slopes(x, pairs.same, omega, [np.inf])[0] * 3  # of all nodes together

    def objective(slopes):
        apart = slopes / (unit / 3) - (slopes / (unit / 3)).mean()
        return 1e3 * (omega @ losses(x @ slopes, pairs.same) + penalty * (apart**2).mean())

    other = minimize(
        objective,
        np.full(3, 1.0),
        method="trust-constr",
        constraints=LinearConstraint(np.eye(3), 0, np.inf),
        tol=1e-10,
        options={"maxiter": 2000},
    )
    assert objective(found) <= other.fun + 1e-3
    np.testing.assert_allclose(found, other.x, atol=0.05 * other.x.max())


def test_an_infinite_penalty_is_one_slope_for_all_and_a_small_one_lets_them_go():
    pairs = planted([1.0, 0.2, 0.0])
    x = evidence_per_slope(pairs, thresholds_of(pairs))
    uniform, free = best_slopes(x, pairs.same, pairs.weights(), [np.inf, 1e-4])
    assert np.ptp(uniform) == 0
    assert uniform[0] > 0
    assert free[0] > free[1] > free[2] >= 0


def test_thresholds_are_where_a_nodes_own_odds_are_even():
    found = thresholds_of(planted([1.0, 0.5]))
    np.testing.assert_allclose(found, 0.5, atol=0.02)
    one_kind = planted([1.0])
    assert thresholds_of(Pairs(one_kind.a, one_kind.b, np.ones(len(one_kind.a), bool), one_kind.distances))[0] == 0.5


def test_equal_nodes_keep_uniform_weights_and_one_that_tells_nothing_loses_its_own():
    alike = fit(planted([0.6] * 4), "learned", 0)
    assert alike.penalty == np.inf
    np.testing.assert_allclose(alike.weights, 0.25)
    unlike = fit(planted([1.5, 1.5, 0.0, 0.0]), "learned", 0)
    assert unlike.penalty < 1
    assert unlike.weights[2:].sum() < 0.15
    assert fit(planted([1.5, 1.5, 0.0]), "uniform", 0).weights == pytest.approx([1 / 3] * 3)
    assert fit(planted([1.5, 1.5, 0.0]), "root", 1).weights == pytest.approx([0, 1, 0])


def test_probabilities_are_those_of_the_model_that_made_the_pairs():
    """With equal variances, the log-odds of a Gaussian pair are a line in its distance: the truth that a fit must
    find."""
    pairs = planted([1.2, 0.0], n=20000, absent=0.0)
    found = fit(pairs, "learned", 0, [0.0])
    truth = 2 * 0.05 * 1.2 / 0.1**2
    assert found.slopes[0] == pytest.approx(truth, rel=0.05)
    assert found.thresholds[0] == pytest.approx(0.5, abs=0.01)


def test_no_image_is_in_a_pair_that_is_fitted_and_in_one_that_is_held_out():
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.integers(0, 40, 500), rng.integers(0, 40, 500), rng.random(500) < 0.5, rng.random((500, 2)))
    asking, answering = folds_of(pairs)
    for image in range(40):
        assert len({*asking[pairs.a == image], *answering[pairs.b == image]}) <= 1
    other = Pairs(pairs.a, pairs.b + 100, pairs.same, pairs.distances)
    assert (folds_of(other)[1] == -1).all()


def test_the_penalty_is_the_largest_within_one_standard_error():
    held_out = np.stack([np.full(100, 0.52), np.full(100, 0.505), np.linspace(0.4, 0.6, 100)])
    error = held_out[2].std(ddof=1) / 10
    assert error > 0.005
    assert choose_penalty(held_out, [np.inf, 1.0, 0.1]) == 1.0
    assert choose_penalty(held_out[[1, 2]] - [[0.0], [0.1]], [np.inf, 0.1]) == 0.1


def test_held_out_losses_are_means_over_each_images_pairs():
    pairs = planted([1.0, 0.0], n=2000, images=20)
    x = evidence_per_slope(pairs, thresholds_of(pairs))
    found = held_out_losses(pairs, x, PENALTIES)
    assert found.shape == (len(PENALTIES), 20)
    assert (found.mean(1) < np.log(2)).all()


def test_the_interval_of_a_weight_holds_it_and_narrows_with_images():
    wide, narrow = (planted([1.0, 0.2], n=8000, images=images) for images in (10, 1000))
    widths = []
    for pairs in (wide, narrow):
        found = fit(pairs, "learned", 0, [0.01])
        low, high = weight_intervals(pairs, found, 40)
        assert (low <= found.weights + 1e-9).all()
        assert (found.weights <= high + 1e-9).all()
        widths.append((high - low).max())
    assert widths[1] < widths[0]


def embeddings(n=240, seed=0) -> dict[str, NodeEmbeddings]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    splits = np.array(["train", "train", "val", "test"] * (n // 4))
    strengths = {"a": 2.0, "b": 0.0, "ab": 1.5}
    found = {}
    for name, strength in strengths.items():
        values = rng.normal(size=(n, 8)).astype(np.float32)
        values[:, 0] += strength * (2 * labels - 1)
        vectors = torch.from_numpy(values)
        found[name] = NodeEmbeddings(
            name, [str(i) for i in range(n)], splits, labels, np.ones(n, bool), [vectors], vectors, "snr"
        )
    return found


def test_a_tree_is_weighed_and_the_same_every_time():
    stored = embeddings()
    found = weigh(stored, TREE, Metric(), "train")
    assert found == weigh(stored, TREE, Metric(), "train")
    weights = {name: term.weight for name, term in found.terms.items()}
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["b"] < weights["a"]
    assert all(term.low <= term.weight <= term.high for term in found.terms.values())
    assert len(found.terms["a"].quantiles) == 101


def test_a_part_that_is_off_takes_every_node_that_sees_it_and_changes_no_other_term():
    stored = embeddings()
    whole, fewer = weigh(stored, TREE, Metric(), "train"), weigh(stored, TREE, Metric(off=["b"]), "train")
    assert [fewer.terms[name].weight for name in ("a", "b", "ab")] == pytest.approx([1, 0, 0])
    assert fewer.terms["a"].slope == whole.terms["a"].slope
    assert fewer.terms["a"].threshold == whole.terms["a"].threshold
    with pytest.raises(HemlError, match=r"metric\.off: ab: every node with a weight sees it"):
        weigh(stored, TREE, Metric(off=["ab"]), "train")
    with pytest.raises(HemlError, match=r"metric\.off: a: every"):
        weigh(stored, TREE, Metric(off=["a"], weights="root"), "train")


def test_without_a_node_the_others_make_up_the_whole():
    stored = embeddings()
    found = without_each(stored, TREE, Metric(), "train", 0.1)
    assert set(found) == {"a", "b", "ab"}
    assert set(found["a"].terms) == {"b", "ab"}
    assert sum(term.weight for term in found["a"].terms.values()) == pytest.approx(1)
    assert without_each(stored, TREE, Metric(weights="root"), "train", None) == {}


def test_without_pairs_of_both_kinds_weights_are_uniform_and_nothing_is_said():
    stored = embeddings()
    for node in stored.values():
        node.splits[node.splits == "val"] = "train"
    found = weigh(stored, TREE, Metric(), "train")
    assert [term.weight for term in found.terms.values()] == pytest.approx([1 / 3] * 3)
    assert found.slope == 0
