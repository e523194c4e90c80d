"""Which classes the segmenter found, in how many images and how large: what to make segments of."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from heml.images.shards import count_images
from heml.params import Segment
from heml.progress import progress
from heml.segments.labelmaps import read_classes, read_labelmaps

SMALL = 0.01
"""A class of a smaller mean area keeps its thin parts: `coverage: 0.3`."""

NO_PART = ("background", "other", "unlabelled", "unlabeled")
"""Class names that stand for everything else."""


@dataclass(frozen=True)
class Coverage:
    """One class over all images."""

    name: str
    present: float
    """Fraction of the images that show it, on at least the fraction of the image that is a segment's default
    `min_area`."""
    area: float
    """Mean fraction of the image in those, 0 where there are none."""


def class_coverage(images: str | Path, labelmaps: str | Path) -> list[Coverage]:
    """Every class of the label maps, the most frequent first."""
    classes = read_classes(labelmaps)
    areas = np.stack(
        [
            (np.bincount(m.labels.ravel(), minlength=256) / m.labels.size).astype(np.float32)
            for m in progress(read_labelmaps(labelmaps, confidence=False), "classes", count_images(images), "image")
        ]
    )
    there = (areas >= Segment.model_fields["min_area"].default) & (areas > 0)
    found = [
        Coverage(name, float(there[:, i].mean()), float(areas[there[:, i], i].mean()) if there[:, i].any() else 0.0)
        for name, i in classes.items()
    ]
    return sorted(found, key=lambda c: (-c.present, c.name))


def proposed_segments(coverage: list[Coverage], least: float, without: Container[str] = ()) -> dict[str, Coverage]:
    """Segment name → class, for the classes present in at least the fraction `least` of the images, backgrounds left
    out.

    Args:
        without: classes to leave out, such as those that the label is read off.
    """
    proposed: dict[str, Coverage] = {}
    for c in coverage:
        name = re.sub("[^a-z0-9]+", "_", c.name.lower()).strip("_")[:59]
        name += "" if yaml.safe_load(name or "_") == name else "_part"  # `no` and `on` are no words to YAML
        wanted = c.present >= least and c.name not in without and name not in NO_PART
        if wanted and re.match("[a-z]", name) and name not in proposed:
            proposed[name] = c
    return proposed


def segments_yaml(segments: dict[str, Coverage]) -> Iterator[str]:
    """The `segments` section of a parameter file, left and right parts as each other's mirror."""
    yield "segments:"
    for name, found in segments.items():
        other = _mirrored(name)
        small = ", coverage: 0.3" if found.area < SMALL else ""
        mirror = f", mirror: {other}" if other in segments else ""
        yield f"  {name}: {{classes: [{_quoted(found.name)}]{small}{mirror}}}"


def _mirrored(name: str) -> str | None:
    for left, right in (("l_", "r_"), ("left_", "right_")):
        if name.startswith(left):
            return right + name.removeprefix(left)
        if name.startswith(right):
            return left + name.removeprefix(right)
    return None


def _quoted(name: str) -> str:
    """As a YAML word, in quotes where it would be read as something else."""
    return str(yaml.safe_dump([name], default_flow_style=True)).strip()[1:-1]
