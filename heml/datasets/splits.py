"""Which images train, which choose the epoch, which report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from heml.errors import HemlError
from heml.images.shards import SPLITS


def stratified_split(labels: Mapping[str, int], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign image ids to the splits that `fractions` names so that each label keeps its share in each.

    Depends only on the ids, their labels and the seed, not on their order. The first split gets two images of every
    label that has two, since it takes two to learn from; of every label with more, the others get their share, at least
    one each as far as there are enough (of three images, say, one is left for `val` and `test` in turn); the first
    takes what rounding leaves.

    Returns:
        image_id → split.
    """
    groups: dict[int, list[str]] = defaultdict(list)
    for image_id in sorted(labels):
        groups[labels[image_id]].append(image_id)
    assigned: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    first, *others = fractions
    total, turn = sum(fractions.values()), 0
    for label in sorted(groups):
        ids = groups[label]
        order = rng.permutation(len(ids))
        counts = [max(round(fractions[split] / total * len(ids)), int(len(ids) >= len(fractions))) for split in others]
        while sum(counts) > max(len(ids) - 2, 0):
            most = [k for k, count in enumerate(counts) if count == max(counts)]
            counts[most[turn % len(most)]] -= 1
            turn += 1
        start = 0
        for split, count in zip(others, counts, strict=True):
            assigned |= {ids[i]: split for i in order[start : start + count]}
            start += count
        assigned |= {ids[i]: first for i in order[start:]}
    return assigned


def split_by_label(labels: Mapping[str, int], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign labels, with all their images, to the splits that `fractions` names.

    Each gets its share of the labels with two or more images, at least two of them where there are enough (fewer cannot
    be judged by), and its share of the labels with one image. Depends only on the labels and the seed.

    Returns:
        image_id → split.

    Raises:
        HemlError: too few labels.
    """
    counts = Counter(labels.values())
    many, alone = (sorted(value for value, n in counts.items() if (n >= 2) == wanted) for wanted in (True, False))
    if len(many) < 2 * len(fractions):
        raise HemlError(
            f"dataset.split_by: label: {len(many)} labels with two or more images are too few for two in each of"
            f" {', '.join(fractions)}; add labels, or set split_by: image"
        )
    rng = np.random.default_rng(seed)
    split_of: dict[int, str] = {}
    for values, least in ((many, 2), (alone, 0)):
        order = [values[k] for k in rng.permutation(len(values))]
        first, *others = fractions
        start = 0
        for left, split in zip(range(len(others), 0, -1), others, strict=True):
            share = round(fractions[split] / sum(fractions.values()) * len(values))
            count = max(min(share, len(values) - start - least * left), least)
            split_of |= dict.fromkeys(order[start : start + count], split)
            start += count
        split_of |= dict.fromkeys(order[start:], first)
    return {image_id: split_of[label] for image_id, label in labels.items()}


def check_labels(label: str, names: Sequence[str], pairs: Sequence[tuple[str, int]], by_label: bool = False) -> None:
    """Check that a metric can be learnt and judged: (split, label) pairs of all images.

    Args:
        by_label: no label may be in two splits (`dataset.split_by: label`), and each split judges by its own labels.

    Raises:
        HemlError: a constant label, an empty split; a class with fewer than two images in `train`; or, by label, a
            label in two splits, or a split without two labels of two images.
    """
    if len(names) < 2:
        only = f"{names[0]!r} for every image" if names else "missing everywhere"
        raise HemlError(f"label {label!r} is constant ({only}); a metric needs at least two classes")
    per_split = Counter(split for split, _ in pairs)
    for split in SPLITS:
        if not per_split[split]:
            few = max(Counter(value for _, value in pairs).values(), default=0) <= 2
            hint = (
                "; of a class with two images both are needed in train, so add images, or set dataset.split_by: label"
                if few
                else ""
            )
            raise HemlError(f"split {split!r} has no images; all of {', '.join(SPLITS)} are needed{hint}")
    counts = Counter(pairs)
    if by_label:
        _check_disjoint(label, names, counts)
        return
    for value, name in enumerate(names):
        if counts["train", value] < 2:
            in_all = sum(counts[split, value] for split in SPLITS)
            raise HemlError(
                f"label {label!r}: class {name!r} has {counts['train', value]} image(s) in train, of {in_all} in all;"
                " at least two are needed to pull together, so add images or merge the class with another; if held-out"
                " classes are to be new, set dataset.split_by: label"
            )


def _check_disjoint(label: str, names: Sequence[str], counts: Mapping[tuple[str, int], int]) -> None:
    """Of `check_labels`, by label."""
    where: dict[int, str] = {}
    for split, value in counts:
        if where.setdefault(value, split) != split:
            raise HemlError(
                f"dataset.split_by: label: {label} {names[value]!r} is in {where[value]} and in {split}; keep each"
                " label in one split, or set split_by: image"
            )
    for split in SPLITS:
        many = [value for (own, value), n in counts.items() if own == split and n >= 2]
        if len(many) < 2:
            raise HemlError(
                f"dataset.split_by: label: split {split!r} has {len(many)} label(s) with two or more images; two are"
                " needed, one to find and one to tell apart"
            )
