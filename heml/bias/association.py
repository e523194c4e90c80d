"""How strongly a group of images goes with a label, and whether it does so in `train` alone.

Tables are counts, (G, C) of groups by labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Vector = NDArray[np.float64]
Table = NDArray[np.int64]

RESAMPLES = 500


def contingency(groups: NDArray[np.int64], labels: NDArray[np.int64], shape: tuple[int, int]) -> Table:
    """Counts of (group, label), images without a group left out."""
    table = np.zeros(shape, np.int64)
    known = groups >= 0
    np.add.at(table, (groups[known], labels[known]), 1)
    return table


def pearson(tables: NDArray[np.float64]) -> Vector:
    """Pearson's X² of independence, of tables (…, G, C); empty rows and columns count nothing."""
    total = tables.sum((-2, -1), keepdims=True)
    expected = tables.sum(-1, keepdims=True) * tables.sum(-2, keepdims=True) / np.maximum(total, 1)
    found: Vector = np.where(expected > 0, (tables - expected) ** 2 / np.maximum(expected, 1e-12), 0.0).sum((-2, -1))
    return found


def cramers_v(tables: NDArray[np.float64]) -> Vector:
    """Cramér's V of tables (…, G, C), in [0, 1], with Bergsma's correction (2013): 0 in the mean where the two are
    independent.

    NaN where there is only one group or one label.
    """
    tables = np.asarray(tables, np.float64)
    n = tables.sum((-2, -1))
    rows, columns = (tables.sum(-1) > 0).sum(-1), (tables.sum(-2) > 0).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        phi = np.maximum(pearson(tables) / n - (rows - 1) * (columns - 1) / (n - 1), 0.0)
        fewer = np.minimum(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
        found: Vector = np.where(
            (rows > 1) & (columns > 1) & (fewer > 0), np.sqrt(np.minimum(phi / fewer, 1.0)), np.nan
        )
    return found


def mutual_information(table: Table) -> float:
    """Of group and label, in bits."""
    p = table / max(table.sum(), 1)
    independent = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    there = p > 0
    return float((p[there] * np.log2(p[there] / independent[there])).sum())


def independence(table: Table) -> float:
    """The p-value of Pearson's test that group and label are independent; NaN where there is only one of either."""
    df = ((table.sum(1) > 0).sum() - 1) * ((table.sum(0) > 0).sum() - 1)
    return float(chi2.sf(pearson(table.astype(float)), df)) if df > 0 else float("nan")


def drawn_again(table: Table, rng: np.random.Generator, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Bootstrap over images: tables (resamples, G, C)."""
    n = int(table.sum())
    if not n:
        return np.zeros((resamples, *table.shape))
    return rng.multinomial(n, table.ravel() / n, resamples).reshape(-1, *table.shape).astype(np.float64)


def interval(values: Vector) -> tuple[float, float]:
    """The middle 95 %, NaN left out."""
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def shift(train: Table, other: Table) -> tuple[float, int]:
    """Whether groups go with labels otherwise than in `train`: Pearson's X² of no three-way interaction, and its
    degrees of freedom.

    What is tested is the tie alone: groups and labels may each be as frequent as they like in both (Bishop, Fienberg &
    Holland, 1975, ch. 3: expected counts by iterative proportional fitting). Groups and labels that one of the two
    lacks cannot be compared.
    """
    both = np.stack([train, other]).astype(np.float64)  # (2, G, C)
    groups = (both.sum(2) > 0).all(0)
    both = both[:, groups]
    labels = (both.sum(1) > 0).all(0) if groups.any() else np.zeros(train.shape[1], bool)
    both = both[:, :, labels]
    groups = (both.sum(2) > 0).all(0) if labels.any() else np.zeros(both.shape[1], bool)
    both = both[:, groups]
    df = max(both.shape[1] - 1, 0) * max(both.shape[2] - 1, 0)
    if not df:
        return 0.0, 0
    expected = np.ones_like(both)
    for _ in range(200):
        before = expected
        for axis in range(3):
            margin = expected.sum(axis, keepdims=True)
            expected = expected * np.divide(
                both.sum(axis, keepdims=True), margin, out=np.zeros_like(margin), where=margin > 0
            )
        if np.abs(expected - before).max() < 1e-6:
            break
    there = expected > 1e-9
    return float(((both - expected)[there] ** 2 / expected[there]).sum()), int(df)


def shift_within(
    values: NDArray[np.int64],
    labels: NDArray[np.int64],
    train: NDArray[np.bool_],
    strata: NDArray[np.int64],
    shape: tuple[int, int],
) -> float:
    """The p-value of `shift`, summed over strata of images: what is left of it once they are told apart; 1 where
    nothing can be told.

    Args:
        values, labels, train, strata: (N,) each.
    """
    total, free = 0.0, 0
    for stratum in np.unique(strata):
        inside = strata == stratum
        parts = (contingency(values[inside & side], labels[inside & side], shape) for side in (train, ~train))
        found, df = shift(*parts)
        total, free = total + found, free + df
    return float(chi2.sf(total, free)) if free else 1.0


def false_discovery(p: Vector) -> Vector:
    """Benjamini and Hochberg's q-values (1995); NaN, what was not tested, stays."""
    found = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found


def wilson(hits: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927); it holds for few, and for shares of 0 and 1."""
    n, z = len(hits), 1.959964
    if not n:
        return float("nan"), float("nan")
    p = float(hits.mean())
    middle, reach = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return float((middle - reach) / (1 + z * z / n)), float((middle + reach) / (1 + z * z / n))


def difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float, float]:
    """The difference of two shares, and its 95 % interval (Newcombe, 1998, method 10); NaN where one has no images."""
    if not len(one) or not len(other):
        return float("nan"), float("nan"), float("nan")
    p, q = float(one.mean()), float(other.mean())
    (p_low, p_high), (q_low, q_high) = wilson(one), wilson(other)
    return p - q, p - q - float(np.hypot(p - p_low, q_high - q)), p - q + float(np.hypot(p_high - p, q - q_low))
