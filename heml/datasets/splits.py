"""Which images train, which choose the epoch, which report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from heml.datasets.store import SPLITS
from heml.errors import HemlError


def stratified_split(labels: Mapping[str, int], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign image ids to train/val/test so that each label keeps its share in each.

    Depends only on the ids, their labels and the seed, not on their order. Of every label with at least three
    images each split gets one.

    Returns:
        image_id → split.
    """
    groups: dict[int, list[str]] = defaultdict(list)
    for image_id in sorted(labels):
        groups[labels[image_id]].append(image_id)
    assigned: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    for label in sorted(groups):
        ids = groups[label]
        order = rng.permutation(len(ids))
        n_val, n_test = (round(fractions[s] * len(ids)) for s in ("val", "test"))
        if len(ids) >= 3:
            n_val, n_test = max(n_val, 1), max(n_test, 1)
        for rank, i in enumerate(order):
            assigned[ids[i]] = "val" if rank < n_val else "test" if rank < n_val + n_test else "train"
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
