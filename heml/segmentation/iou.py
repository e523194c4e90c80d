"""How well label maps agree with masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusion(predicted: NDArray[np.integer], truth: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Count pixels by (true class, predicted class): (C, C) int64, from two arrays of one shape."""
    pairs = truth.ravel().astype(np.int64) * classes + predicted.ravel()
    counts: NDArray[np.int64] = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    return counts


def iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union per class, (C,); NaN for a class that is neither there nor predicted."""
    hit = np.diag(counts).astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - hit
    return np.asarray(np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0), dtype=np.float64)
