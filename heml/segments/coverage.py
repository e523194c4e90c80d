"""What to make segments of: classes by the number of images that show them, and how large."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

import yaml

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


def segment_name(name: str) -> str:
    """What a segment of the class is called; empty where no letter begins it."""
    found = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")[:59]
    found += "" if yaml.safe_load(found or "_") == found else "_part"  # `no` and `on` are no words to YAML
    return found if re.match("[a-z]", found) else ""


def proposed_segments(coverage: list[Coverage], least: float, without: Container[str] = ()) -> dict[str, Coverage]:
    """Segment name → class, for the classes present in at least the fraction `least` of the images, backgrounds left
    out.

    Args:
        without: classes to leave out, such as those that the label is read off.
    """
    proposed: dict[str, Coverage] = {}
    for c in coverage:
        name = segment_name(c.name)
        wanted = c.present >= least and c.name not in without and name not in NO_PART
        if wanted and name and name not in proposed:
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
