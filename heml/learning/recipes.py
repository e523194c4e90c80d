"""Training images made of two: a base gets a donor's segment, so that what the segment looks like says nothing of the
label.

What is stored is how to make them, `data/recipes/<segment>.parquet`, a few bytes a sample: base, donor (null: the
segment is taken away), and the box of the base's canvas that the donor's segment is laid into. Training makes the
pixels as it reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from heml.images.parquet import Stored, write_table
from heml.segments.masks import unpack_mask

KEPT, REMOVED = -2, -1
"""Donors that are none: the image stays as it is, or the segment is taken away."""

_SCHEMA = pa.schema(
    [("base", pa.string()), ("draw", pa.int8()), ("donor", pa.string()), ("box", pa.list_(pa.int16(), 4))]
)


@dataclass(frozen=True)
class Recipes:
    """How to make the training images of one segment, N images in stored order, K draws of each."""

    donors: NDArray[np.int64]
    """(N, K): the donor's row, `REMOVED`, or `KEPT`."""
    boxes: NDArray[np.int16]
    """(N, K, 4): x0, y0, x1, y1 on the base's canvas, the end exclusive, where the donor's segment is laid; zeros
    without a donor."""
    rate: float
    """Share of the training images that are recomposed each time they are read."""
    poured: bool
    """Whether the base keeps its own outline."""


def write_recipes(path: Path, recipes: Recipes | None, image_ids: list[str]) -> None:
    """Write them, a row a sample; None: an empty table, whose segment is left as it is."""
    columns: dict[str, list[object]] = {name: [] for name in _SCHEMA.names}
    about: dict[str, object] = {}
    if recipes:
        about = {"rate": recipes.rate, "poured": recipes.poured}
        for row, draw in np.argwhere(recipes.donors != KEPT).tolist():
            donor = int(recipes.donors[row, draw])
            columns["base"].append(image_ids[row])
            columns["draw"].append(draw)
            columns["donor"].append(None if donor == REMOVED else image_ids[donor])
            columns["box"].append(None if donor == REMOVED else recipes.boxes[row, draw].tolist())
    write_table(path, pa.table(columns, schema=_SCHEMA.with_metadata({"heml": json.dumps(about)})))


def read_recipes(path: Path, image_ids: list[str]) -> Recipes | None:
    """Read them; None where the segment is left as it is, or there are no recipes at all.

    Args:
        image_ids: of all images, in stored order.
    """
    if not path.is_file():
        return None
    stored = Stored(path, [(field.name, field.type) for field in _SCHEMA], "dvc repro recompose", ("base", "draw"))
    table = stored.table()
    if not table.num_rows:
        return None
    place = {image_id: row for row, image_id in enumerate(image_ids)}
    draws = np.array(table["draw"].to_pylist())
    donors = np.full((len(image_ids), int(draws.max()) + 1), KEPT)
    boxes = np.zeros((*donors.shape, 4), np.int16)
    for base, draw, donor, box in zip(
        *(table[name].to_pylist() for name in ("base", "draw", "donor", "box")), strict=True
    ):
        if (
            base not in place
            or (donor is not None and donor not in place)
            or draw < 0
            or (donor is None) != (box is None)
        ):
            raise stored.fault(f"its recipe for {base!r} names images that are not there, or is damaged")
        donors[place[base], draw] = REMOVED if donor is None else place[donor]
        boxes[place[base], draw] = box or 0
    about = stored.about
    if about.keys() != {"rate", "poured"}:
        raise stored.fault("its description is damaged")
    return Recipes(donors, boxes, **about)


@dataclass(frozen=True)
class Recomposed:
    """A segment that is exchanged as a node's training images are read."""

    packed: NDArray[np.uint8]
    """(N, ceil(H·W/8)): its masks, bit-packed."""
    sources: NDArray[np.int16]
    """(N, 4): its boxes."""
    recipes: Recipes

    def make(
        self, row: int, draw: int, pixels: NDArray[np.uint8], shape: tuple[int, int]
    ) -> tuple[NDArray[np.uint8] | None, NDArray[np.bool_]]:
        """What one image shows of the segment: pixels (H, W, 3), None for its own, and the mask (H, W).

        Args:
            draw: which recipe; `KEPT`: none.
            pixels: all canvases.
        """
        mask = unpack_mask(self.packed[row].tobytes(), shape)
        donor = KEPT if draw == KEPT else int(self.recipes.donors[row, draw])
        if donor == KEPT:
            return None, mask
        if donor == REMOVED:
            return None, np.zeros_like(mask)
        own = unpack_mask(self.packed[donor].tobytes(), shape)
        given = filled(pixels[donor], own) if self.recipes.poured else pixels[donor]
        laid, there = lay_donor(given, own, self.sources[donor], self.recipes.boxes[row, draw])
        return laid, mask if self.recipes.poured else there


def filled(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Every pixel (H, W, 3) outside the mask as the nearest inside it."""
    from scipy.ndimage import distance_transform_edt  # a training without recipes need not wait for it

    rows, columns = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    found: NDArray[np.uint8] = pixels[rows, columns]
    return found


def lay_donor(
    pixels: NDArray[np.uint8], mask: NDArray[np.bool_], source: NDArray[np.int16], box: NDArray[np.int16]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A donor's segment moved and scaled from its own box to another: pixels (H, W, 3) and mask (H, W), by the nearest
    pixel.

    What falls beside the canvas is cut off.
    """
    height, width = mask.shape
    x0, y0, x1, y1 = (int(v) for v in box)
    left, top, right, bottom = (int(v) for v in source)
    xs, ys = np.arange(max(x0, 0), min(x1, width)), np.arange(max(y0, 0), min(y1, height))
    from_x = np.minimum(left + ((xs - x0 + 0.5) * (right - left) / (x1 - x0)).astype(int), right - 1)
    from_y = np.minimum(top + ((ys - y0 + 0.5) * (bottom - top) / (y1 - y0)).astype(int), bottom - 1)
    laid, there = np.zeros_like(pixels), np.zeros_like(mask)
    laid[np.ix_(ys, xs)] = pixels[np.ix_(from_y, from_x)]
    there[np.ix_(ys, xs)] = mask[np.ix_(from_y, from_x)]
    return laid, there
