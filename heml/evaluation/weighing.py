"""The tree's weights: logistic regression on pairs of held-out images, with slopes that are not negative and shrink
towards one value.

Minimised over slopes s ≥ 0, for pairs p of weight ω_p at even odds, y_p = ±1 for one label or two, and e_p = Σ s_n (τ_n
− d_pn):

    Σ ω_p log(1 + exp(−y_p e_p)) + λ mean (s_n/u − mean s/u)²

with u the slope that would be best for all nodes alike. It is convex: one optimum, found the same every time. The
penalty λ is chosen by cross-validation over images, of those within one standard error of the best the largest,
infinity among them: uniform weights, unless the data speak against it. As in Platt's scaling (1999), the log-odds are
    calibrated; as in stacking (Breiman, 1996), weights that may
not be negative do not overfit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from threadpoolctl import threadpool_limits

from heml.errors import HemlError
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.pairing import Pairs, ask, measure
from heml.evaluation.retrieval import search_in
from heml.evaluation.tree_metric import Term, TreeMetric
from heml.params import Metric
from heml.tree import Tree

PENALTIES = (np.inf, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FOLDS = 5
RESAMPLES = 100
_RIDGE = 1e-5
"""Of the squared log-odds: where same and different pairs never overlap, they would grow without end."""
_LEAST = 0.01
"""Slope per standard deviation of a node's distance below which it tells nothing."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """What was found."""

    slopes: Vector
    """(M,), ≥ 0."""
    thresholds: Vector
    """(M,)"""
    penalty: float
    """λ; infinite for uniform weights."""

    @property
    def weights(self) -> Vector:
        """(M,), of sum 1; uniform where nothing tells same from different."""
        total = self.slopes.sum()
        return self.slopes / total if total > 0 else np.full(len(self.slopes), 1 / len(self.slopes))


def thresholds_of(pairs: Pairs) -> Vector:
    """Every node's threshold, (M,), by a logistic regression on its distance alone; ½ where it has not both kinds of
    pairs."""
    found = np.full(pairs.distances.shape[1], 0.5)
    for n, distances in enumerate(pairs.distances.T):
        known = ~np.isnan(distances)
        counts = None if pairs.counts is None else pairs.counts[known]
        own = Pairs(pairs.a[known], pairs.b[known], pairs.same[known], distances[known, None], counts)
        if own.tell:
            found[n] = _threshold(distances[known], own.same, own.weights())
    return found


def _threshold(distances: Vector, same: NDArray[np.bool_], omega: Vector) -> float:
    """Where evidence c − s·d turns; within the distances that occur."""
    unit = max(float(distances.std()), 1e-9)
    sign = np.where(same, 1.0, -1.0)

    def objective(line: Vector) -> tuple[float, Vector]:
        e = sign * (line[0] - line[1] * distances / unit)
        wrong = omega / (1 + np.exp(np.clip(e, -500, 500)))
        value = omega @ np.logaddexp(0.0, -e) + _RIDGE * (line @ line)
        return float(value), np.array([-(wrong @ sign), wrong @ (sign * distances) / unit]) + 2 * _RIDGE * line

    line = minimize(objective, [0.0, 1.0], jac=True, method="L-BFGS-B", bounds=[(None, None), (_LEAST, None)]).x
    # of a node that tells nothing, any will do
    middle = (np.average(distances[same]) + np.average(distances[~same])) / 2
    return float(np.clip(line[0] / line[1] * unit if line[1] > _LEAST else middle, distances.min(), distances.max()))


def evidence_per_slope(pairs: Pairs, thresholds: Vector) -> Vector:
    """(P, M): τ − d, 0 where one of the two lacks the node."""
    found: Vector = np.nan_to_num(thresholds - pairs.distances, nan=0.0)
    return found


def losses(log_odds: Vector, same: NDArray[np.bool_]) -> Vector:
    """Of each pair: log(1 + exp(−y·log-odds)), in nats; ln 2 is knowing nothing."""
    found: Vector = np.logaddexp(0.0, np.where(same, -log_odds, log_odds))
    return found


def best_slopes(x: Vector, same: NDArray[np.bool_], omega: Vector, penalties: Sequence[float]) -> Vector:
    """The optimum for each penalty, (len(penalties), M) ≥ 0.

    Args:
        x: (P, M), evidence per slope. omega: (P,), of sum 1. penalties: λ; infinite: one slope for all.
    """
    signed = np.where(same[:, None], x, -x)
    unit = _descend(signed.mean(1, keepdims=True), omega, 0.0, np.ones(1))[0]  # of all nodes together
    times, found = np.ones(x.shape[1]), []
    for penalty in penalties:
        if np.isfinite(penalty) and unit > 0:
            times = _descend(signed * unit / x.shape[1], omega, penalty, times)
        found.append(times * unit / x.shape[1])
    return np.stack(found)


def _descend(signed: Vector, omega: Vector, penalty: float, start: Vector) -> Vector:
    """Where loss plus penalty is lowest: (M,) ≥ 0."""

    def objective(times: Vector) -> tuple[float, Vector]:
        e = signed @ times
        apart = times - times.mean()
        wrong = omega / (1 + np.exp(np.clip(e, -500, 500)))
        value = omega @ np.logaddexp(0.0, -e) + penalty * (apart @ apart) / len(times) + _RIDGE * (e @ (omega * e))
        return float(value), 2 * penalty * apart / len(times) - (wrong - 2 * _RIDGE * omega * e) @ signed

    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * len(start),
        options={"maxiter": 500, "gtol": 1e-7},
    )
    return np.asarray(found.x, np.float64)


def folds_of(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The fold of each pair's asking image and of its reference, (P,) each; −1 for images that ask nothing.

    Folds are of images: an image that is held out is in no pair that is fitted to.
    """
    images = np.unique(pairs.a)
    fold = dict(zip(images.tolist(), (np.random.default_rng(0).permutation(len(images)) % FOLDS).tolist(), strict=True))
    return np.array([fold[row] for row in pairs.a.tolist()]), np.array([fold.get(row, -1) for row in pairs.b.tolist()])


def held_out_losses(pairs: Pairs, x: Vector, penalties: Sequence[float]) -> Vector:
    """Mean loss of each image's pairs, (len(penalties), images), by slopes fitted without the image."""
    asking, answering = folds_of(pairs)
    predicted = np.zeros((len(penalties), len(x)))
    for fold in range(FOLDS):
        held = asking == fold
        kept = ~held & (answering != fold)
        omega = pairs.weights(kept.astype(float))[kept]
        for k, slopes in enumerate(best_slopes(x[kept], pairs.same[kept], omega, penalties)):
            predicted[k, held] = losses(x[held] @ slopes, pairs.same[held])
    place = np.unique(pairs.a, return_inverse=True)[1]
    omega = pairs.weights()
    mass = np.bincount(place, omega)
    return np.stack([np.bincount(place, omega * row) for row in predicted]) / mass


def choose_penalty(held_out: Vector, penalties: Sequence[float]) -> float:
    """The largest λ whose mean loss is at most one standard error above the lowest (Breiman et al., 1984, ch. 3).

    Args:
        held_out: (len(penalties), images), the largest penalty first.
    """
    means = held_out.mean(1)
    best = int(means.argmin())
    error = held_out[best].std(ddof=1) / np.sqrt(held_out.shape[1]) if held_out.shape[1] > 1 else np.inf
    return float(penalties[int((means <= means[best] + error).argmax())])


def one_thread() -> threadpool_limits:
    """Of the linear algebra: on thin matrices threads wait for each other, and change the last bits."""
    return threadpool_limits(1)


def fit(pairs: Pairs, weights: str, root: int, penalties: Sequence[float] = PENALTIES) -> Fit:
    """Slopes and thresholds from pairs.

    Args:
        weights: `learned`, `uniform`, or `root`, the node in that column alone.
        penalties: choose among these, the largest first.
    """
    count = pairs.distances.shape[1]
    if not pairs.tell:
        return Fit(np.zeros(count), np.full(count, 0.5), np.inf)
    thresholds = thresholds_of(pairs)
    x = evidence_per_slope(pairs, thresholds)
    alone = np.arange(count) == root
    if weights == "root":
        x = x * alone
    penalty = np.inf
    if weights == "learned":
        penalty = (
            penalties[0] if len(penalties) == 1 else choose_penalty(held_out_losses(pairs, x, penalties), penalties)
        )
    slopes = best_slopes(x, pairs.same, pairs.weights(), [penalty])[0] * (alone if weights == "root" else 1)
    return Fit(slopes, thresholds + _shift(pairs, x, slopes), penalty)


def _shift(pairs: Pairs, x: Vector, slopes: Vector) -> float:
    """What all thresholds move by so that the tree as a whole is calibrated, and not only each node by itself."""
    log_odds, omega = x @ slopes, pairs.weights()
    slope = ~np.isnan(pairs.distances) @ slopes  # of the log-odds, per unit of all thresholds
    if not slope.any():
        return 0.0
    found = minimize_scalar(
        lambda shift: omega @ losses(log_odds + shift * slope, pairs.same),
        bounds=(-0.5, 0.5),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(found.x)


def weight_intervals(pairs: Pairs, found: Fit, resamples: int) -> tuple[Vector, Vector]:
    """95 % bootstrap interval of every weight over images, (M,) and (M,); the penalty and thresholds stay as they
    are."""
    if not pairs.tell or not resamples or not found.slopes.any():
        return found.weights, found.weights
    x = evidence_per_slope(pairs, found.thresholds)
    images, place = np.unique(np.concatenate([pairs.a, pairs.b]), return_inverse=True)
    asks = np.isin(images, pairs.a)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(resamples):
        times = np.ones(len(images))
        times[asks] = rng.multinomial(asks.sum(), np.full(asks.sum(), 1 / asks.sum()))
        omega = pairs.weights(times[place[: len(x)]] * times[place[len(x) :]])
        drawn.append(
            Fit(best_slopes(x, pairs.same, omega, [found.penalty])[0], found.thresholds, found.penalty).weights
        )
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return low, high


def tree_metric(
    found: Fit, names: Sequence[str], settings: Metric, kept: NDArray[np.bool_] | None = None
) -> TreeMetric:
    """A fit as the metric of these nodes, without intervals and percentiles.

    Args:
        kept: (M,), whose terms stay; they then make up the whole of the distance.

    Raises:
        HemlError: none that has a weight stays.
    """
    kept = np.ones(len(names), bool) if kept is None else kept
    weights = found.weights * kept
    if not weights.sum() > 0:
        raise HemlError(
            f"metric.off: {', '.join(settings.off)}: every node with a weight sees it; leave fewer out, or set"
            " metric.weights to uniform"
        )
    weights /= weights.sum()
    terms = {
        name: Term(float(w), float(w), float(w), float(s), float(t), [])
        for name, w, s, t in zip(names, weights, found.slopes * kept, found.thresholds, strict=True)
    }
    return TreeMetric(terms, settings.weights, None if np.isinf(found.penalty) else found.penalty, list(settings.off))


def blind(tree: Tree, off: Sequence[str]) -> NDArray[np.bool_]:
    """Of every node, (M,), whether it sees nothing of the parts that are off."""
    out = {leaf for name in off for leaf in tree.leaves(name)}
    return np.array([not out & set(tree.sees(node.name)) for node in tree])


def held_out(embeddings: Mapping[str, NodeEmbeddings], tree: Tree, split: str, search: str) -> Pairs:
    """Pairs of a split's images with references as `evaluate.search` has them."""
    root = embeddings[tree.root]
    return measure(embeddings, root.labels, *ask(search_in(root.rows, split, search), root.labels))


def weigh(
    embeddings: Mapping[str, NodeEmbeddings],
    tree: Tree,
    settings: Metric,
    search: str,
    images: NDArray[np.float64] | None = None,
    resamples: int = RESAMPLES,
) -> TreeMetric:
    """The tree's metric, fitted on pairs of `val`.

    A part that is off takes its terms away and leaves the others as they were, but for their share of the distance.

    Args:
        images: how much each image counts, (N,), and a pair as the product of its two; None: all the same.
        resamples: behind the weights' intervals; 0: none.

    Raises:
        HemlError: nothing is left.
    """
    pairs, test = (held_out(embeddings, tree, split, search) for split in ("val", "test"))
    if images is not None:
        pairs = replace(pairs, counts=images[pairs.a] * images[pairs.b])
    with one_thread():
        found = fit(pairs, settings.weights, list(embeddings).index(tree.root))
        low, high = weight_intervals(pairs, found, resamples if settings.weights == "learned" else 0)
    kept = blind(tree, settings.off)
    plain = tree_metric(found, list(embeddings), settings, kept)
    share = (found.weights * kept).sum()
    terms = {}
    for n, (name, term) in enumerate(plain.terms.items()):
        known = test.distances[:, n][~np.isnan(test.distances[:, n])]
        spread = np.quantile(known, np.linspace(0, 1, 101)) if len(known) else np.zeros(0)
        ends = [float(end[n] * kept[n] / share) for end in (low, high)]
        terms[name] = replace(
            term,
            low=min(ends[0], term.weight),
            high=max(ends[1], term.weight),
            quantiles=[round(float(q), 7) for q in spread],
        )
    return replace(plain, terms=terms, hidden=list(tree.hidden))


def without_each(
    embeddings: Mapping[str, NodeEmbeddings], tree: Tree, settings: Metric, search: str, penalty: float | None
) -> dict[str, TreeMetric]:
    """The tree's metric without each of its nodes, whose weights are fitted anew under the same penalty; empty for a
    tree of one answer."""
    if settings.weights == "root":
        return {}
    pairs = held_out(embeddings, tree, "val", search)
    names, kept, found = list(embeddings), blind(tree, settings.off), {}
    with one_thread():
        for n, name in enumerate(names):
            others = np.arange(len(names)) != n
            if kept[others].any():
                again = fit(
                    replace(pairs, distances=pairs.distances[:, others]),
                    "learned",
                    -1,
                    [np.inf if penalty is None else penalty],
                )
                found[name] = tree_metric(again, [other for other in names if other != name], settings, kept[others])
    return found
