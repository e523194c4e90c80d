"""Where every class is, how large and in how many images: measured in masks or label maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heml.images.shards import count_images
from heml.params import Segment
from heml.progress import progress
from heml.segments.coverage import Coverage, segment_name
from heml.segments.labelmaps import read_classes, read_labelmaps
from heml.starting.places import Place

LEAST = float(Segment.model_fields["min_area"].default)
"""A class on a smaller fraction of the image counts as absent."""


@dataclass(frozen=True)
class Part:
    """One class, or several together, in the images looked at."""

    name: str
    areas: NDArray[np.float32]
    """Fraction of each image, (N,)."""
    place: Place | None
    """Over the images that show it; None where none does."""

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which images show it, (N,)."""
        return (self.areas >= LEAST) & (self.areas > 0)

    @property
    def coverage(self) -> Coverage:
        """In how many images, and how large."""
        there = self.there
        return Coverage(self.name, float(there.mean()), float(self.areas[there].mean()) if there.any() else 0.0)


def moments(ids: NDArray[np.uint8], size: tuple[int, int] | None = None) -> NDArray[np.float64]:
    """Of every class id of a mask: its share of the pixels, and over every few of them their number and the sums of x,
    y, x² and y², in units of the image's longer side, (6, 256).

    Args:
        size: height and width of the image, where the mask has another shape.
    """
    height, width = size or ids.shape
    longer = max(height, width)
    step = max(max(ids.shape) // 128, 1)
    seen = ids[::step, ::step]
    y, x = (
        (k.ravel() + 0.5) * step * side / (longer * pixels)
        for k, side, pixels in zip(np.indices(seen.shape), (height, width), ids.shape, strict=True)
    )
    flat = seen.ravel()
    sums = [np.bincount(flat, weights, minlength=256) for weights in (x, y, x * x, y * y)]
    share = np.bincount(ids.ravel(), minlength=256) / ids.size
    return np.stack([share, np.bincount(flat, minlength=256), *sums])


def part_of(name: str, found: NDArray[np.float64], numbers: Sequence[int]) -> Part:
    """The part that some class ids make up.

    Args:
        found: `moments` of every image, (N, 6, ids).
        numbers: the class ids.
    """
    mine = found[:, :, list(numbers)].sum(2)
    areas = mine[:, 0].astype(np.float32)
    shown = mine[(areas >= LEAST) & (mine[:, 1] > 0)]
    if not len(shown):
        return Part(name, areas, None)
    x, y, xx, yy = (shown[:, 2:] / shown[:, 1:2]).mean(0)
    return Part(
        name, areas, Place(float(x), float(y), float(max(xx - x * x, 0) ** 0.5), float(max(yy - y * y, 0) ** 0.5))
    )


def measured(images: str | Path, labelmaps: str | Path) -> tuple[dict[str, int], NDArray[np.float64]]:
    """Class name → id, and the `moments` of every label map, (N, 6, highest id + 1).

    Raises:
        HemlError: missing or damaged.
    """
    classes = read_classes(labelmaps)
    maps = progress(read_labelmaps(labelmaps, confidence=False), "classes", count_images(images), "image")
    stop = max(classes.values()) + 1
    return classes, np.stack([moments(m.labels, (m.height, m.width))[:, :stop] for m in maps])


def places_of(
    names: Iterable[str], segments: Mapping[str, Segment], classes: Mapping[str, int], found: NDArray[np.float64]
) -> dict[str, Place]:
    """Where the segments are, of those that have a class that is seen anywhere.

    Args:
        names: segments of a parameter file, or classes as `heml classes` writes them.
        segments: those of the parameter file.
        classes, found: what `measured` gives.
    """
    own = {segment_name(name): [number] for name, number in classes.items()}
    own |= {name: [classes[c] for c in segment.classes if c in classes] for name, segment in segments.items()}
    parts = {name: part_of(name, found, own[name]) for name in names if own.get(name)}
    return {name: part.place for name, part in parts.items() if part.place}
