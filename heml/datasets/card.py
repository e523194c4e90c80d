"""The card of a data set on the hub: which Parquet files hold which split, what the columns mean, and under which
terms."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from heml.datasets.yaml_file import read_yaml
from heml.images.void import class_faults
from heml.params import Strict


class Files(Strict):
    """Some of the repository's Parquet files."""

    path: str
    """Pattern; `*` stands for anything."""
    splits: list[Literal["train", "val", "test"]] = Field(min_length=1)
    """Where their images go: one split, or several, drawn by `dataset.split` and `dataset.seed`."""


class Card(Strict):
    """See `data/celeba.yaml`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    """Images are called after it."""
    title: str
    images: int | None = Field(None, ge=1)
    gigabytes: float | None = Field(None, gt=0)
    """Of all files, before they were ever asked for."""
    licence: str
    """What the owners say, in short."""
    cite: str = ""
    files: list[Files] = Field(min_length=1)
    image: str = "image"
    """Column of encoded images: a `{bytes, path}` struct, as `datasets` writes it, or bytes."""
    mask: str | None = None
    """Column of encoded label masks."""
    classes: dict[str, int] = Field(default_factory=dict)
    """Mask class → pixel value."""
    labels: list[str] = Field(default_factory=list)
    """Columns that can be `dataset.label`; kept with the images."""

    @model_validator(mode="after")
    def _fits_together(self) -> Card:
        twice = [s for s, n in Counter(s for f in self.files for s in f.splits).items() if n > 1]
        if twice:
            raise ValueError(f"files: split {twice[0]!r} is named twice; give it one pattern")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: a column is named twice")
        if (self.mask is None) != (not self.classes):
            raise ValueError("mask and classes belong together: name both or neither")
        for fault in class_faults(self.classes):
            raise ValueError(f"classes: {fault}")
        return self


def load_card(path: str | Path) -> Card:
    """Read and check a card.

    Raises:
        HemlError: missing, not YAML, a key that is unknown or wrong.
    """
    return read_yaml(Card, path, "the card of the hub data set, such as data/celeba.yaml")
