"""`segments` and `canvas`: what a class is part of, and the size at which images are trained on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from heml.params.section import Name, Size, Strict


class Segment(Strict):
    """One segment: the segmenter classes that make it up."""

    classes: list[str] = Field(min_length=1)
    """Their names, as the segmenter or `classes.json` has them."""
    dilate: int = Field(0, ge=0, le=64)
    """Grow the mask by so many canvas pixels."""
    min_area: float = Field(0.0005, ge=0, lt=1)
    """A smaller mask (fraction of the canvas) counts as absent."""
    mirror: Name | None = None
    """The segment this one becomes in a mirrored image, as l_eye and r_eye; null: itself."""
    coverage: float = Field(0.5, gt=0, le=1)
    """A canvas pixel belongs to the segment when at least this fraction of it does; lower keeps thin parts."""


class Canvas(Size):
    """Every image at training size."""

    height: int = Field(64, ge=16, le=1024)
    """Pixels."""
    width: int = Field(64, ge=16, le=1024)
    """Pixels."""
    fit: Literal["pad", "stretch"] = "pad"
    """Keep the aspect ratio and pad, or stretch."""
