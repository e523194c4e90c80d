"""Which images train, which choose the epoch, which report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from heml.datasets.store import SPLITS
from heml.errors import HemlError


def stratified_split(labels: Mapping[str, int], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign image ids to the splits that `fractions` names so that each label keeps its share in each.

    Depends only on the ids, their labels and the seed, not on their order. Of every label with at least as many
    images as there are splits each gets one; the first split takes what rounding leaves.

    Returns:
        image_id → split.
    """
    groups: dict[int, list[str]] = defaultdict(list)
    for image_id in sorted(labels):
        groups[labels[image_id]].append(image_id)
    assigned: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    first, *others = fractions
    total = sum(fractions.values())
    for label in sorted(groups):
        ids = groups[label]
        order = rng.permutation(len(ids))
        start = 0
        for split in others:
            count = max(round(fractions[split] / total * len(ids)), int(len(ids) >= len(fractions)))
            assigned |= {ids[i]: split for i in order[start : start + count]}
            start += count
        assigned |= {ids[i]: first for i in order[start:]}
    return assigned


def check_labels(label: str, names: Sequence[str], pairs: Sequence[tuple[str, int]]) -> None:
    """Check that a metric can be learnt and judged: (split, label) pairs of all images.

    Raises:
        HemlError: a constant label, an empty split, a class with fewer than two images in `train`.
    """
    if len(names) < 2:
        only = f"{names[0]!r} for every image" if names else "missing everywhere"
        raise HemlError(f"label {label!r} is constant ({only}); a metric needs at least two classes")
    per_split = Counter(split for split, _ in pairs)
    for split in SPLITS:
        if not per_split[split]:
            raise HemlError(f"split {split!r} has no images; all of {', '.join(SPLITS)} are needed")
    in_train = Counter(value for split, value in pairs if split == "train")
    for value, name in enumerate(names):
        if in_train[value] < 2:
            raise HemlError(
                f"label {label!r}: class {name!r} has {in_train[value]} image(s) in train; at least two are needed "
                "to pull together, so add images or merge the class with another"
            )
