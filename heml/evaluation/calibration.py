"""`models/calibration.json`: what a distance means at each node, measured on held-out pairs.

With it a stored tree can say of two new images whether a distance is a small one, and whether it means “the same”.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from heml.atomic import new_file
from heml.distances import bounded_snr
from heml.errors import HemlError
from heml.evaluation.decisions import balanced_accuracy, best_threshold, compose, draw_pairs, vote
from heml.evaluation.embeddings import NodeEmbeddings
from heml.tree import Tree

MOST_PAIRS = 20_000
"""Pairs of a split that are looked at."""


@dataclass(frozen=True)
class Scale:
    """How to read one node's bounded SNR distance."""

    threshold: float | None
    """The largest distance that counts as “the same label”, chosen on pairs of `val`; None where it cannot be."""
    accuracy: float | None
    """Balanced accuracy of that decision on pairs of `test`."""
    composed_accuracy: float | None
    """The same of the decision composed of all nodes up to this one."""
    quantiles: list[float]
    """The 0th, 1st … 100th percentile of the distances of `test` pairs; empty without pairs."""

    def percentile(self, distance: float) -> float:
        """Share of held-out pairs at most this far apart, in [0, 100], by linear interpolation; NaN where unknown."""
        if not self.quantiles or np.isnan(distance):
            return float("nan")
        return float(np.interp(distance, self.quantiles, np.arange(101.0), left=0.0, right=100.0))


Calibration = dict[str, Scale]
"""Node → scale."""


def pair_distances(embeddings: NodeEmbeddings, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
    """Bounded SNR distances of rows `a` and `b`, (P,); NaN where one of the two lacks the node."""
    if not len(a):
        return np.zeros(0, np.float32)
    found: NDArray[np.float32] = bounded_snr(embeddings.vectors[a], embeddings.vectors[b]).numpy()
    return np.where(embeddings.present[a] & embeddings.present[b], found, np.float32("nan"))


def ranks(distances: torch.Tensor) -> torch.Tensor:
    """Of each distance, (N,), the share of the known ones that are smaller, in [0, 1]; NaN where it is NaN."""
    known = distances[distances.isfinite()].sort().values
    found = torch.searchsorted(known, distances.nan_to_num(0.0)) / max(len(known), 1)
    return torch.where(distances.isfinite(), found, torch.nan)


def calibrate(embeddings: Mapping[str, NodeEmbeddings], tree: Tree) -> Calibration:
    """Choose every node's threshold on pairs of `val` and see on pairs of `test` how well it decides."""
    root = embeddings[tree.root]
    chosen, decided, quantiles = {}, {}, {}
    pairs = {split: draw_pairs(np.flatnonzero(root.splits == split), MOST_PAIRS) for split in ("val", "test")}
    same = {split: root.labels[a] == root.labels[b] for split, (a, b) in pairs.items()}
    for name, stored in embeddings.items():
        held = pair_distances(stored, *pairs["val"])
        known = ~np.isnan(held)
        chosen[name] = best_threshold(held[known], same["val"][known])
        tested = pair_distances(stored, *pairs["test"])
        decided[name] = vote(tested, chosen[name])
        tested = tested[~np.isnan(tested)].astype(np.float64)
        quantiles[name] = np.quantile(tested, np.linspace(0, 1, 101)).tolist() if len(tested) else []
    composed = compose(tree, decided)
    return {
        name: Scale(
            _known(chosen[name]),
            _known(balanced_accuracy(decided[name], same["test"])),
            _known(balanced_accuracy(composed[name], same["test"])),
            [round(q, 6) for q in quantiles[name]],
        )
        for name in embeddings
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)


def write_calibration(path: str | Path, calibration: Calibration) -> None:
    """Write it as JSON."""
    with new_file(path) as partial:
        partial.write_text(json.dumps({name: asdict(scale) for name, scale in calibration.items()}, indent=1) + "\n", "utf-8")


def read_calibration(path: str | Path) -> Calibration:
    """Read it.

    Raises:
        HemlError: missing, or not written by this project.
    """
    try:
        return {name: Scale(**scale) for name, scale in json.loads(Path(path).read_text("utf-8")).items()}
    except FileNotFoundError:
        raise HemlError(f"{path}: no calibration; run `dvc repro calibrate` first") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise HemlError(f"{path}: not a calibration of this project ({error})") from None
