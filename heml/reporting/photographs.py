"""Images of the data set at their own resolution, and their parts as outlines, for those who look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heml.explanation.views import Gallery
from heml.images.canvas import lay_image
from heml.images.decoding import decode_image
from heml.images.shards import ROWS_PER_GROUP, read_rows
from heml.params import Canvas
from heml.reporting.outlines import outlines
from heml.segments.labelmaps import LabelMap, read_classes, read_labelmaps
from heml.segments.manifest import Partition, cut_segment
from heml.segments.masks import unpack_mask

SIDE = 256
"""Longer side of a photograph, pixels, at most."""


def photographs(gallery: Gallery, rows: Sequence[int], side: int = SIDE) -> Iterator[NDArray[np.uint8]]:
    """Images by their rows, in that order, laid out as their canvases are, but larger: (H, W, 3), all of the size that
    suits the first."""
    if not len(rows):
        return
    found = dict(chain.from_iterable(_read(gallery, group) for group in _groups(rows)))
    canvas: Canvas | None = None
    for row in rows:
        image = decode_image(found[row], gallery.canvases.image_ids[row], float("inf"))
        canvas = canvas or larger(_canvas(gallery), min(side, max(image.size)))
        yield lay_image(image, canvas)


def _canvas(gallery: Gallery) -> Canvas:
    return next(iter(gallery.partitions.values())).canvas


def larger(own: Canvas, side: int) -> Canvas:
    """A canvas of that form, whose longer side is `side` pixels, but at least its own."""
    scale = max(side / max(own.height, own.width), 1.0)
    return Canvas(height=round(own.height * scale), width=round(own.width * scale), fit=own.fit)


def fine_outlines(gallery: Gallery, rows: Sequence[int], shape: Sequence[int]) -> Iterator[list[str]]:
    """Of every leaf (`heml.reporting.outlines`), empty where it is absent, of images by their rows, in that order, as
    their label maps have them; where there are none, as in a run that was pulled without, as their canvases have them.

    Args:
        shape: height and width that they are cut at, as of `photographs`.
    """
    maps = gallery.run.labelmaps
    if not maps.is_dir():
        yield from (small_outlines(gallery, row) for row in rows)
        return
    classes, canvas = read_classes(maps), larger(_canvas(gallery), max(shape))
    for row in rows:
        labelmap = next(read_labelmaps(maps, start=row, stop=row + 1))
        parts = gallery.partitions.values()
        yield [fine_outline(labelmap, part, classes, canvas) if part.present[row] else "" for part in parts]


def small_outlines(gallery: Gallery, row: int) -> list[str]:
    """The outlines of every leaf as its canvas has it, for thumbnails."""
    return [outlines(part.mask(row), 2.0) if part.present[row] else "" for part in gallery.partitions.values()]


def fine_outline(labelmap: LabelMap, part: Partition, classes: dict[str, int], canvas: Canvas) -> str:
    """The outline of a leaf in an image, cut from its label map as large as the canvas.

    Args:
        part: of the leaf; how it is cut.
        classes: class name → id in the label map.
    """
    grown = round(part.definition.dilate * canvas.height / part.canvas.height)
    definition = part.definition.model_copy(update={"dilate": grown, "min_area": 0.0})
    cut = cut_segment(labelmap, [classes[name] for name in part.definition.classes], definition, canvas)
    return outlines(unpack_mask(cut["mask"], (canvas.height, canvas.width)))


def _groups(rows: Sequence[int]) -> Iterator[list[int]]:
    """Rows of one row group after another."""
    for start in sorted({row // ROWS_PER_GROUP for row in rows}):
        yield sorted({row for row in rows if row // ROWS_PER_GROUP == start})


def _read(gallery: Gallery, group: Sequence[int]) -> list[tuple[int, bytes]]:
    """The encoded images of some rows that lie together."""
    stored = read_rows(gallery.run.images, ["image"], group[0], group[-1] + 1)
    return [(row, found["image"]["bytes"]) for row, found in enumerate(stored, group[0]) if row in set(group)]


def thumbnail(pixels: NDArray[np.uint8], width: int, height: int) -> Image.Image:
    """A picture at a size."""
    image = Image.fromarray(pixels)
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)
