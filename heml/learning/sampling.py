"""P×K sampling: which images make a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pytorch_metric_learning.samplers.m_per_class_sampler import MPerClassSampler


def pk_batches(labels: NDArray[np.int64], batch_size: int, per_class: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """One epoch of P×K batches: positions into `labels`, (P·K,) each, as many batches as fit the images, at least one.

    P = batch_size / `per_class` distinct classes, or all where there are fewer, and K images of each: `per_class`, or
    as many as fill the batch. Classes come in proportion to their images, and no image comes twice in a batch but of a
    class with fewer than K.
    """
    values, counts = np.unique(labels, return_counts=True)
    p = min(max(batch_size // per_class, 2), len(values))
    k = -(-batch_size // p)
    batches = max(len(labels) // batch_size, 1)
    if p == len(values) and k * p == batch_size:  # every class in every batch
        np.random.seed(seed)  # noqa: NPY002 (the sampler draws from NumPy's global state)
        sampler = MPerClassSampler(labels, k, batch_size=None, length_before_new_iter=batches * batch_size)
        return iter(np.fromiter(sampler, dtype=np.int64).reshape(-1, batch_size))
    rng = np.random.default_rng(seed)
    turns = _turns(counts, p, batches, rng)
    # Class by class along the batches and round again: a class has at most as many turns as there are batches, so never
    # two in one.
    slots = np.empty((p * batches, k), np.int64)
    of_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    start = 0
    for c in rng.permutation(len(values)):
        slots[start : start + turns[c]] = _groups(of_class[c], int(turns[c]), k, rng)
        start += turns[c]
    order = rng.permutation(batches)
    return iter(slots.reshape(p, batches, k).transpose(1, 0, 2).reshape(batches, p * k)[order])


def _turns(counts: NDArray[np.int64], p: int, batches: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """In how many of the batches each class is, (C,), of sum P × batches: in proportion to its images, at most in all.

    A class of two images or more is in at least one where there is room for all of them. Fractions are rounded up or
    down at random, with the fraction as the chance, so that over epochs every class has its share.
    """
    least = (counts >= 2).astype(float) if (counts >= 2).sum() <= p * batches else np.zeros(len(counts))
    low, high = 0.0, 2 * batches / counts.min()
    for _ in range(100):  # turns per image, so that they are as many as there are
        factor = (low + high) / 2
        low, high = (factor, high) if np.clip(factor * counts, least, batches).sum() < p * batches else (low, factor)
    shares = np.clip(high * counts, least, batches)
    whole: NDArray[np.int64] = np.floor(shares).astype(np.int64)
    order = rng.permutation(len(counts))
    ends = np.cumsum((shares - whole)[order]).round(6)  # the last is whole
    whole[order] += np.diff(np.floor(ends + rng.random()), prepend=0).astype(np.int64)
    return whole


def _groups(members: NDArray[np.int64], number: int, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`members` in an order by chance, all before any comes again, as (number, K); none twice in a row of K if there
    are K of them."""
    dealt: list[int] = []
    while len(dealt) < number * k:
        begun = Counter(dealt[len(dealt) - len(dealt) % k :])  # the row that goes on with this round
        dealt += sorted(rng.permutation(members).tolist(), key=begun.__getitem__)
    return np.array(dealt[: number * k], np.int64).reshape(number, k)
