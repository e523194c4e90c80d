"""Tests of association against SciPy's and closed forms; the test of a shift by its level and its power."""

import numpy as np
import pytest
from scipy import stats

from heml.bias import association as A


def table(seed: int, shape=(3, 2), n=200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, rng.dirichlet(np.ones(shape[0] * shape[1]))).reshape(shape)


@pytest.mark.parametrize("seed", range(3))
def test_pearson_and_its_p_value_are_scipys(seed):
    found = table(seed, (4, 3))
    theirs = stats.chi2_contingency(found, correction=False)
    assert float(A.pearson(found.astype(float))) == pytest.approx(theirs.statistic)
    assert A.independence(found) == pytest.approx(theirs.pvalue)


def test_independence_of_one_group_is_not_known():
    assert np.isnan(A.independence(np.array([[3, 4], [0, 0]])))
    assert np.isnan(A.cramers_v(np.array([[[3.0, 4.0], [0.0, 0.0]]]))[0])


def test_cramers_v_is_bergsmas_formula_written_out():
    found = table(1, (4, 3))
    n, r, c = found.sum(), 4, 3
    phi = max(stats.chi2_contingency(found, correction=False).statistic / n - (r - 1) * (c - 1) / (n - 1), 0)
    expected = np.sqrt(phi / (min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1))
    assert float(A.cramers_v(found[None].astype(float))[0]) == pytest.approx(expected)


def test_cramers_v_is_0_in_the_mean_without_a_tie_and_1_for_a_perfect_one():
    rng = np.random.default_rng(0)
    independent = rng.multinomial(100, np.full(8, 1 / 8), 500).reshape(-1, 4, 2)
    uncorrected = np.sqrt(A.pearson(independent.astype(float)) / 100)
    assert A.cramers_v(independent.astype(float)).mean() < 0.4 * uncorrected.mean()
    assert float(A.cramers_v(np.array([[[50.0, 0.0], [0.0, 50.0]]]))[0]) == pytest.approx(1)


def test_mutual_information_is_the_difference_of_entropies():
    found = table(2)
    p = found / found.sum()
    expected = stats.entropy(p.sum(1), base=2) + stats.entropy(p.sum(0), base=2) - stats.entropy(p.ravel(), base=2)
    assert A.mutual_information(found) == pytest.approx(expected)


def test_contingency_counts_and_leaves_out_who_has_no_group():
    found = A.contingency(np.array([0, 1, 1, -1]), np.array([0, 0, 1, 1]), (2, 2))
    assert found.tolist() == [[1, 0], [1, 1]]


def test_equal_odds_with_other_margins_are_no_shift():
    train = np.array([[40, 10], [20, 30]])  # odds ratio 6
    held = np.array([[60, 5], [30, 15]])  # odds ratio 6, other frequencies of groups and labels
    found, df = A.shift(train, held)
    assert df == 1
    assert found == pytest.approx(0, abs=1e-3)


def test_a_shift_that_is_not_there_is_found_as_often_as_its_level_says():
    rng = np.random.default_rng(0)
    p = np.array([[0.3, 0.05], [0.2, 0.15], [0.1, 0.2]])
    values = []
    for _ in range(400):
        found, df = A.shift(*(rng.multinomial(n, p.ravel()).reshape(3, 2) for n in (400, 200)))
        values.append(stats.chi2.sf(found, df))
    assert 0.02 < np.mean(np.array(values) < 0.05) < 0.085


def test_a_tie_in_train_alone_is_a_shift():
    found, df = A.shift(np.array([[90, 10], [10, 90]]), np.array([[25, 25], [25, 25]]))
    assert stats.chi2.sf(found, df) < 1e-6


def test_labels_that_the_other_split_lacks_cannot_be_compared():
    assert A.shift(np.array([[5, 0], [7, 0]]), np.array([[0, 5], [0, 7]])) == (0.0, 0)


def test_a_shift_within_strata_vanishes_where_the_stratum_explains_it():
    rng = np.random.default_rng(0)
    n = 4000
    train = rng.random(n) < 0.6
    labels = rng.integers(0, 2, n)
    cause = np.where(train & (rng.random(n) < 0.8), labels, rng.integers(0, 2, n))
    echo = np.where(rng.random(n) < 0.9, cause, 1 - cause)
    none = np.zeros(n, np.int64)
    assert A.shift_within(echo, labels, train, none, (2, 2)) < 1e-6
    assert A.shift_within(echo, labels, train, cause, (2, 2)) > 0.01


def test_false_discovery_rates_are_scipys_and_what_was_not_tested_stays():
    p = np.array([0.01, 0.2, np.nan, 0.03, 0.9])
    known = ~np.isnan(p)
    found = A.false_discovery(p)
    np.testing.assert_allclose(found[known], stats.false_discovery_control(p[known]))
    assert np.isnan(found[2])


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 10), (20, 20)])
def test_the_interval_of_a_share_is_scipys(hits, n):
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(A.wilson(np.repeat([1.0, 0.0], [hits, n - hits])), (theirs.low, theirs.high), atol=1e-6)


def test_the_difference_of_shares_is_newcombes_example():
    """Newcombe (1998), table II: 56/70 against 48/80, method 10: 0.0524 to 0.3339."""
    one, other = np.repeat([1.0, 0.0], [56, 14]), np.repeat([1.0, 0.0], [48, 32])
    found = A.difference(one, other)
    np.testing.assert_allclose(found, (0.2, 0.0524, 0.3339), atol=5e-4)
    assert np.isnan(A.difference(one, other[:0])[0])
