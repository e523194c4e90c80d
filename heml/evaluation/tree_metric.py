"""The tree is the metric: its distance, its decision and one vector per image, all of the same terms.

With d_n the distance of two images at node n, in [0, 1], the tree's distance is D = Σ w_n d_n with Σ w_n = 1, and its
decision is

    log-odds(same label) = Σ e_n,   e_n = s_n (τ_n − d_n),

a sum of the evidence of every node. The slopes are s_n = s·w_n, so log-odds = s·(Σ w_n τ_n − D): distance and decision
rank alike. A node that one of the two images lacks has nothing to say: e_n = 0, as if d_n were τ_n. Odds are even
before anything is seen: the log-odds are a log-likelihood ratio, whatever the share of same pairs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from heml.atomic import new_file
from heml.distances import Metric, standardise
from heml.errors import HemlError, fault
from heml.evaluation.embeddings import NodeEmbeddings
from heml.sealed import seal, unseal

FORMAT = 1
"""Of `models/metric.json`."""


@dataclass(frozen=True)
class Term:
    """What one node says."""

    weight: float
    """Its share w of the tree's distance, in [0, 1]."""
    low: float
    high: float
    """95 % bootstrap interval of the weight, over images."""
    slope: float
    """Evidence per unit of distance, s ≥ 0."""
    threshold: float
    """The distance τ that speaks neither for the same label nor against it."""
    quantiles: list[float]
    """The 0th, 1st … 100th percentile of its distances over held-out pairs; empty without such."""

    def evidence(self, distance: float) -> float:
        """For the same label, above 0, or against it, in log-odds; 0 for NaN."""
        return 0.0 if np.isnan(distance) else self.slope * (self.threshold - distance)

    def percentile(self, distance: float) -> float:
        """Share of held-out pairs at most this far apart, in [0, 100], by linear interpolation; NaN where unknown."""
        if not self.quantiles or np.isnan(distance):
            return float("nan")
        return float(np.interp(distance, self.quantiles, np.arange(101.0), left=0.0, right=100.0))


@dataclass(frozen=True)
class TreeMetric:
    """`models/metric.json`."""

    terms: dict[str, Term]
    """Node → term, in the order of the tree."""
    weights: str
    """How they were found: `learned`, `uniform` or `root`."""
    penalty: float | None
    """For leaving uniform weights, as chosen by cross-validation; None: infinite, so they are uniform."""
    off: list[str]
    """Parts that were switched off; the terms of the nodes that see them are 0."""
    hidden: list[str] = field(default_factory=list)
    """Leaves that nodes of other leaves do not see."""

    @cached_property
    def _columns(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        weights, slopes, thresholds = zip(*((t.weight, t.slope, t.threshold) for t in self.terms.values()), strict=True)
        return np.array(weights), np.array(slopes), np.array(thresholds)

    def evidence(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of every node, (…, M), from their distances, (…, M), NaN where one of the two lacks the node."""
        _, slopes, thresholds = self._columns
        return np.nan_to_num(slopes * (thresholds - distances), nan=0.0)

    def log_odds(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of one label at even odds, (…), from the nodes' distances, (…, M)."""
        found: NDArray[np.float64] = self.evidence(distances).sum(-1)
        return found

    def parts(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """What every node adds to D, (…, M), from their distances, (…, M); a node that is missing adds its
        threshold's."""
        weights, _, thresholds = self._columns
        found: NDArray[np.float64] = weights * np.where(np.isnan(distances), thresholds, distances)
        return found

    def distance(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """D, (…) in [0, 1], from the nodes' distances, (…, M)."""
        found: NDArray[np.float64] = self.parts(distances).sum(-1)
        return found

    @property
    def threshold(self) -> float:
        """The tree's: D below it means the same label."""
        weights, _, thresholds = self._columns
        return float(weights @ thresholds)

    @property
    def slope(self) -> float:
        """Of the log-odds: s in s·(threshold − D)."""
        return float(self._columns[1].sum())

    def vectors(self, embeddings: Mapping[str, NodeEmbeddings] | Mapping[str, torch.Tensor]) -> torch.Tensor:
        """One vector per image, (N, Σ D_n + M) float32, whose dot product, each dimension by its `signature`, ranks as
        the tree does: Σ signature·u_a·u_b = `threshold` − D(a, b).

        Per node its standardised embedding times √(w/2), 0 where it is absent; at the end, a number per node: √(w·|½ −
        τ|) where it is present. They carry that a node speaks only where both images have it.

        Args:
            embeddings: of every node of the terms, or their (N, D) vectors, NaN where absent.
        """
        parts, there = [], []
        for name, term in self.terms.items():
            stored = embeddings[name]
            x = stored.vectors if isinstance(stored, NodeEmbeddings) else stored
            parts.append(standardise(x).nan_to_num(0.0) * (term.weight / 2) ** 0.5)
            there.append(x.isfinite().all(1) * (term.weight * abs(0.5 - term.threshold)) ** 0.5)
        return torch.cat([*parts, torch.stack(there, 1)], 1).float()

    def signature(self, dims: int) -> torch.Tensor:
        """The sign that each of the `dims` dimensions of `vectors` has in the dot product, (dims,) of ±1."""
        found = torch.ones(dims)
        signs = [-1.0 if term.threshold < 0.5 else 1.0 for term in self.terms.values()]
        found[dims - len(signs) :] = torch.tensor(signs)
        return found

    @property
    def metric(self) -> Metric:
        """The tree's distance between `vectors`, (Q, W) and (R, W) → (Q, R)."""

        def distances(queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
            return self.threshold - (queries * self.signature(queries.shape[1])) @ references.T

        return distances


def write_metric(path: str | Path, metric: TreeMetric) -> None:
    """Write it as JSON."""
    found = seal({"format": FORMAT} | asdict(metric))
    with new_file(path) as partial:
        partial.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", "utf-8")


def read_metric(path: str | Path) -> TreeMetric:
    """Read it.

    Raises:
        HemlError: missing, not written by this project, or damaged.
    """
    try:
        found = unseal(json.loads(Path(path).read_text("utf-8")))
        if found.pop("format") != FORMAT:
            raise ValueError(f"not format {FORMAT}")
        terms = {name: Term(**term) for name, term in found.pop("terms").items()}
        numbers = [n for t in terms.values() for n in (t.weight, t.low, t.high, t.slope, t.threshold, *t.quantiles)]
        if (
            not terms
            or not np.isfinite(np.array(numbers, np.float64)).all()
            or min(t.weight for t in terms.values()) < 0
        ):
            raise ValueError("no terms, or values that are no numbers")
        return TreeMetric(terms, **found)
    except FileNotFoundError:
        raise HemlError(f"{path}: no metric of the tree; run `dvc repro weigh` first") from None
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise fault(path, f"not a tree's metric of this project ({error})", "dvc repro weigh") from None
