"""The best accuracy any method can reach, where the probability tables behind the data are known.

A part of an image shows one of several looks (the last: it is absent). Given the label, parts are independent. An
observer who sees several parts does best by naming the label with the larger joint probability; the accuracy of that
rule is the Bayes limit. Images in which the observer sees no part at all are left out, as they are in evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Evidence = Sequence[Sequence[float]]
"""Joint probabilities [P(look, label=0), P(look, label=1)] of a part's looks, the last one "absent"; they sum to 1."""


def _merge(joint: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up outcomes of equal posterior: they are worth the same to the observer, and their number stays small."""
    posterior = np.round(joint[:, 1] / joint.sum(axis=1), 12)
    values, group = np.unique(posterior, return_inverse=True)
    merged = np.zeros((len(values), 2))
    np.add.at(merged, group, joint)
    return merged


def bayes_limit(parts: Sequence[Evidence]) -> float:
    """Bayes-optimal accuracy of seeing all of `parts` at once, over the images in which at least one is present.

    Exact: outcomes are enumerated, merged where their posterior is equal.

    Args:
        parts: the evidence of each visible part; all must imply the same prior.

    Returns:
        Accuracy in [0.5, 1] for a balanced label.

    Raises:
        ValueError: no parts, or parts that are never present.
    """
    if not parts:
        raise ValueError("no parts to see")
    prior = np.asarray(parts[0], dtype=np.float64).sum(axis=0)
    joint, absent = prior[None, :], prior.copy()
    for part in parts:
        given_label = np.asarray(part, dtype=np.float64) / prior
        given_label = given_label[given_label.sum(axis=1) > 0]
        joint = _merge((joint[:, None, :] * given_label[None]).reshape(-1, 2))
        absent = absent * (np.asarray(part[-1], dtype=np.float64) / prior)
    seen = 1 - absent.sum()
    if seen <= 0:
        raise ValueError("the parts are never present")
    # Among the outcomes is "all absent"; it is taken out of both the hits and the total.
    return float((joint.max(axis=1).sum() - _all_absent_gain(joint, absent)) / seen)


def identity_limit(looks: Sequence[Sequence[int]], labels: NDArray[np.int64]) -> float:
    """The best P@1 within a set of images whose labels are identities of fixed looks, for an observer who sees some of
    their parts.

    Identities that look alike in those parts cannot be told apart: an image's neighbour is then any other image of
    theirs.

    Args:
        looks: of each visible part, the look of every identity; none: the observer sees nothing that an identity keeps.
        labels: (N,) of the images.

    Returns:
        Expected accuracy in [0, 1]; NaN with fewer than two images.
    """
    if len(labels) < 2:
        return float("nan")
    seen = np.stack([np.asarray(part)[labels] for part in looks], 1) if looks else np.zeros((len(labels), 1), np.int64)
    group = np.unique(seen, axis=0, return_inverse=True)[1].ravel()
    own = np.bincount(labels)[labels] - 1
    alike = np.bincount(group)[group] - 1
    return float(np.mean(np.divide(own, alike, out=np.zeros(len(labels)), where=alike > 0)))


def _all_absent_gain(joint: NDArray[np.float64], absent: NDArray[np.float64]) -> float:
    """What "all absent" adds to the sum of maxima, given that it was merged with outcomes of equal posterior."""
    if absent.sum() == 0:
        return 0.0
    posterior = np.round(joint[:, 1] / joint.sum(axis=1), 12)
    row = int(np.argmin(np.abs(posterior - absent[1] / absent.sum())))
    return float(joint[row].max() - (joint[row] - absent).max())
