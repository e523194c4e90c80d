"""How much each image counts so that a part's looks say nothing of the label: weights refitted on balanced held-out
pairs.

As a last layer is refitted in deep feature reweighting (Kirichenko et al., ICLR 2023), but with groups that nobody
annotated, and of the tree's weights alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heml.bias.attributes import Attribute, part_attributes
from heml.bias.ties import Labelled
from heml.images.canvas import load_canvases
from heml.images.shards import read_description
from heml.run import Run
from heml.segments.manifest import read_manifest

MOST = 10.0
"""Times the mean that an image counts at most: what a single image says must not decide."""


def image_weights(attributes: Sequence[Attribute], images: Labelled) -> NDArray[np.float64]:
    """Of each image, (N,), of mean 1 in its split: every look of the parts counts as much with one label as with
    another.

    A look is a combination of the attributes' groups, with "cannot be said" for one; it counts as often as it occurs in
    the split, and within it every label counts the same, but for what `MOST` cuts off. A look that one label alone has
    cannot be balanced and stays.
    """
    looks = (
        np.stack([attribute.values for attribute in attributes])
        if attributes
        else np.zeros((1, len(images.labels)), np.int64)
    )
    cells = np.unique(looks, axis=1, return_inverse=True)[1].ravel()
    found = np.ones(len(images.labels))
    for split in np.unique(images.splits):
        inside = images.splits == split
        for cell in np.unique(cells[inside]):
            rows = np.flatnonzero(inside & (cells == cell))
            values, place, counts = np.unique(images.labels[rows], return_inverse=True, return_counts=True)
            found[rows] = np.minimum(len(rows) / (len(values) * counts[place]), MOST)
        found[inside] /= found[inside].mean()
    return found


def balanced(parts: Sequence[str], groups: int, run: Run) -> NDArray[np.float64] | None:
    """`image_weights` over presence, colour and shape of some segments of a run; None for none.

    Args:
        groups: of colours and of shapes, at most.
    """
    if not parts:
        return None
    canvases = load_canvases(run.canvases)
    partitions = {part: read_manifest(run.segments, part) for part in parts}
    looked = [a for part, partition in partitions.items() for a in part_attributes(part, partition, canvases, groups)]
    return image_weights(looked, Labelled(canvases.labels, canvases.splits, read_description(run.images).label_names))
