"""`embed`, `metric` and `evaluate`: the tree's own metric, and how it is measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from heml.params.section import Distance, Name, Strict


class Evaluate(Strict):
    """How retrieval is measured."""

    distance: Distance | Literal["trained"] = "snr"
    """`trained`: each node's own, which its loss was trained under."""
    near_duplicate: float = Field(0.98, gt=0, le=1)
    """Images of different splits whose canvases correlate at least so (grey, 16×16 pixels) are listed as
    near-duplicates."""
    search: Literal["train", "within"] = "train"
    """Neighbours of a held-out image are searched in `train`, or within its own split."""
    bootstrap: int = Field(1000, ge=0, le=100_000)
    """Resamples behind the 95 % interval; 0 leaves it out."""


class Embed(Strict):
    """How images are embedded."""

    hide: list[Name] = Field([])
    """Segments that nodes of other segments do not see when they embed an image: what else these nodes know stays.
    Nothing trains again."""


class Metric(Strict):
    """The tree's own metric: what each node's distance weighs in its answer."""

    weights: Literal["learned", "uniform", "root"] = "learned"
    """`learned` on pairs of `val`, as near to uniform as they allow; `uniform`: every node the same; `root`: that node
    alone."""
    balance: list[Name] = Field([])
    """Segments whose looks are to say nothing of the label: the pairs that weights are fitted on count so that every
    look is as common with one label as with another. Nothing trains again."""
    off: list[Name] = Field([])
    """Parts that the answer is not to depend on: every node that sees any of their segments is left out of it. Nothing
    trains again."""
