"""Verification measures against scikit-learn and loops."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from heml.evaluation.pairing import Pairs
from heml.evaluation.verification import (
    FAR,
    auc,
    calibration_error,
    equal_error,
    reliability,
    roc,
    true_accepts,
    verify,
)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    same = rng.random(600) < 0.3
    scores = (rng.normal(size=600) + 1.2 * same).round(1)  # with ties
    return scores, same, rng.random(600)


def pairs(same, asking=None, distances=None):
    n = len(same)
    asking = np.arange(n) if asking is None else asking
    return Pairs(asking, np.arange(n), same, np.zeros((n, 1)) if distances is None else distances)


def test_the_curve_and_its_area_are_scikit_learns(drawn):
    scores, same, omega = drawn
    false, true, _ = roc_curve(same, scores, sample_weight=omega, drop_intermediate=False)
    ours = roc(scores, same, omega)
    np.testing.assert_allclose(ours[0], false, atol=1e-12)
    np.testing.assert_allclose(ours[1], true, atol=1e-12)
    assert auc(*ours) == pytest.approx(roc_auc_score(same, scores, sample_weight=omega))


def test_equal_errors_are_equal_and_true_accepts_keep_to_the_rate(drawn):
    scores, same, omega = drawn
    false, true = roc(scores, same, omega)
    rate = equal_error(false, true)
    assert rate == pytest.approx(1 - np.interp(rate, false, true), abs=1e-9)
    best = 0.0
    for threshold in np.unique(scores):
        accepted = scores >= threshold
        if omega[accepted & ~same].sum() / omega[~same].sum() <= FAR:
            best = max(best, omega[accepted & same].sum() / omega[same].sum())
    assert true_accepts(false, true) == pytest.approx(best)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([3.0, 2, 1, 0], (1.0, 0.0, 1.0)), ([0.0, 1, 2, 3], (0.0, 1.0, 0.0)), ([1.0] * 4, (0.5, 0.5, 0.0))],
)
def test_extremes(scores, expected):
    same = np.array([True, True, False, False])
    rates = roc(np.array(scores), same, np.full(4, 0.25))
    assert (auc(*rates), equal_error(*rates), true_accepts(*rates)) == pytest.approx(expected)


def test_unknown_scores_do_not_count_and_intervals_hold_the_value(drawn):
    scores, same, _ = drawn
    asking = np.arange(600) // 10
    half = np.where(np.arange(600) % 2, np.nan, scores)
    found = verify(pairs(same, asking), half, 100)
    assert found["auc"] == pytest.approx(roc_auc_score(same[::2], scores[::2]))
    for name in ("auc", "eer", "tar@far1"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert np.isnan(list(verify(pairs(np.ones(5, bool)), np.zeros(5), 10).values())).all()


def test_reliability_is_a_loop_over_tenths():
    rng = np.random.default_rng(1)
    said = rng.random(4000)
    same = rng.random(4000) < said
    table = reliability(pairs(same), np.log(said / (1 - said)))
    weights = pairs(same).weights()
    for row in table.itertuples():
        inside = (said >= row.low) & (said < row.high)
        assert row.found == pytest.approx(weights[inside & same].sum() / weights[inside].sum())
        assert row.said == pytest.approx((weights * said)[inside].sum() / weights[inside].sum())
    assert table["share"].sum() == pytest.approx(1)
    assert calibration_error(table) < 0.03
    overconfident = reliability(pairs(same), 9 * np.log(said / (1 - said)))
    assert calibration_error(overconfident) > 0.1
