"""Are two images of one label? Receiver operating characteristics of pairs, and whether probabilities are what they
say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from heml.evaluation.pairing import Pairs

BINS = 10
FAR = 0.01
"""The false accept rate at which true accepts are told."""
_RESAMPLES = 200

Vector = NDArray[np.float64]


def roc(scores: Vector, same: NDArray[np.bool_], omega: Vector) -> tuple[Vector, Vector]:
    """False and true accept rate at every threshold, from accepting nothing to accepting all, (T + 1,) each.

    Args:
        scores: (P,), higher for pairs that look the same. omega: their weights.
    """
    order = np.argsort(-scores, kind="stable")
    return _rates(scores[order], same[order], omega[order])


def _rates(scores: Vector, same: NDArray[np.bool_], omega: Vector) -> tuple[Vector, Vector]:
    """The same of pairs in order of their scores."""
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # equal scores are accepted together
    true, both = np.cumsum(np.where(same, omega, 0.0))[ends], np.cumsum(omega)[ends]
    false = both - true
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def auc(false: Vector, true: Vector) -> float:
    """Area under the curve of `roc`: how often a same pair looks more alike than a different one; 0.5 is chance."""
    return float(np.trapezoid(true, false))


def equal_error(false: Vector, true: Vector) -> float:
    """The rate at which as many same pairs are refused as different ones are accepted; 0.5 is chance."""
    apart = (1 - true) - false  # from 1 down to −1
    k = int((apart <= 0).argmax())
    at = apart[k - 1] / (apart[k - 1] - apart[k])
    return float(false[k - 1] + at * (false[k] - false[k - 1]))


def true_accepts(false: Vector, true: Vector) -> float:
    """The share of same pairs that are accepted where at most `FAR` of the different ones are; `FAR` is chance."""
    return float(true[np.flatnonzero(false <= FAR)[-1]])


MEASURES: dict[str, Callable[[Vector, Vector], float]] = {"auc": auc, "eer": equal_error, "tar@far1": true_accepts}
"""Column → measure of `roc`."""


def verify(pairs: Pairs, scores: Vector, resamples: int) -> dict[str, float]:
    """All measures over the pairs whose score is known, at even odds, with the 95 % bootstrap interval of each over
    asking images.

    Returns:
        `auc`, `auc_low`, `auc_high`, `eer` …; NaN where there are not both kinds of pairs.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[~np.isnan(scores[order])]
    own, scores = Pairs(pairs.a[order], pairs.b[order], pairs.same[order], pairs.distances[order]), scores[order]
    if not own.tell:
        return {f"{name}{end}": float("nan") for name in MEASURES for end in ("", "_low", "_high")}
    place = np.unique(own.a, return_inverse=True)[1]
    count = int(place.max()) + 1
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(min(resamples, _RESAMPLES)):
        omega = own.weights(rng.multinomial(count, np.full(count, 1 / count))[place].astype(float))
        if min(omega[own.same].sum(), omega[~own.same].sum()) > 0:
            rates = _rates(scores, own.same, omega)
            drawn.append([measure(*rates) for measure in MEASURES.values()])
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0) if drawn else np.full((2, len(MEASURES)), np.nan)
    rates = _rates(scores, own.same, own.weights())
    found: dict[str, float] = {}
    for k, (name, measure) in enumerate(MEASURES.items()):
        found |= {name: measure(*rates), f"{name}_low": float(low[k]), f"{name}_high": float(high[k])}
    return found


def reliability(pairs: Pairs, log_odds: Vector) -> pd.DataFrame:
    """Said and found, a row per tenth of probability: `low`, `high`, `said`, the mean probability of one label,
    `found`, the share that have, at even odds, `share` of the pairs. Empty tenths are left out."""
    said = 1 / (1 + np.exp(-log_odds))
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    omega = pairs.weights()
    rows = []
    for k in range(BINS):
        mass = omega[place == k].sum()
        if mass > 0:
            mean = (omega * said)[place == k].sum() / mass, (omega * pairs.same)[place == k].sum() / mass
            rows.append((k / BINS, (k + 1) / BINS, *mean, mass))
    return pd.DataFrame(rows, columns=["low", "high", "said", "found", "share"])


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error of `reliability`, in [0, 1]: how far said and found are apart, over all pairs (Naeini
    et al., 2015)."""
    return float((table["share"] * (table["said"] - table["found"]).abs()).sum()) if len(table) else float("nan")
