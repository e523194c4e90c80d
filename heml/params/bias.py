"""`bias` and `recompose`: how biased parts are found, and how training breaks their tie to the label."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from heml.params.section import Strict


class Recompose(Strict):
    """How a segment that has nothing to do with the label is exchanged between training images."""

    rate: float = Field(1.0, gt=0, le=1)
    """Share of the training images that show another's segment, each time they are read."""
    draws: int = Field(4, ge=1, le=100)
    """Donors that are drawn for each image; which of them it gets is drawn when it is read."""
    candidates: int = Field(8, ge=1)
    """Of so many donors drawn, the one whose segment fits the image best in size is taken; 1: any."""
    presence: bool | None = None
    """Whether images without the segment take part, as bases that are given one and donors that take it away; null:
    where its presence goes with the label."""
    how: Literal["pour", "lay"] | None = None
    """`pour`: the image's own outline is filled with the donor's pixels; `lay`: the donor's segment, outline and all,
    is laid where the image's own was, which is no longer seen. Null: `lay` where presence, size or proportions go with
    the label, else `pour`."""
    donors: Literal["any", "same"] = "any"
    """`any`: of every label as often; `same`: of the image's own, which breaks no tie: a control for what recomposing
    itself does."""
    seed: int = Field(0, ge=0)
    """Of the donors that are drawn."""


class Bias(Strict):
    """How parts are looked at that may tell the label in `train` alone."""

    columns: list[str] | None = None
    """Columns of the table that are looked at beside the parts; null: all that group the images."""
    groups: int = Field(6, ge=2, le=20)
    """Groups of a part's colours or shapes, at most."""
    fdr: float = Field(0.05, gt=0, lt=1)
    """Share of false names among those named, at most, in the mean (Benjamini & Hochberg, 1995)."""
    pairs: int = Field(100, ge=0)
    """Pairs of test images of different labels that exchange each part; 0: none."""
