"""A part as it lies in a photograph, for people: at the photograph's own resolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heml.explanation.pictures import grey_out
from heml.reporting.finished import Finished
from heml.reporting.inline import webp_uri
from heml.reporting.photographs import photographs

MARGIN = 0.25
"""Around a part, as a share of its sides."""
SIDE = 128
"""Pixels that the longer side of a crop is enlarged to, at least."""


def crop(finished: Finished, image_id: str, part: str = "") -> dict[str, str]:
    """The part with a margin around it; the whole image where the part is no leaf, or not there.

    Returns:
        `image_id`, `picture`, a data URI, and `alt`.
    """
    gallery = finished.gallery
    row = gallery.row(image_id)
    pixels = next(photographs(gallery, [row]))
    mask = gallery.partitions[part].mask(row) if part in gallery.partitions else None
    if mask is not None and mask.any():
        scale = np.array(pixels.shape[:2]) / mask.shape
        rows, columns = (
            _around(np.flatnonzero(mask.any(axis)), times) for axis, times in zip((1, 0), scale.tolist(), strict=True)
        )
        pixels = np.ascontiguousarray(pixels[rows, columns])
    seen = f"{part.replace('_', ' ')} of {image_id}" if mask is not None else image_id
    return {"image_id": image_id, "picture": webp_uri(pixels, max(SIDE // max(pixels.shape[:2]), 1)), "alt": seen}


def node_picture(finished: Finished, row: int, node: str) -> NDArray[np.uint8]:
    """What a node sees of a photograph, everything else greyed out, (h, w, 3)."""
    x0, y0, x1, y1 = finished.metric.headers[node].box
    view = finished.gallery.view(row)
    pixels = next(photographs(finished.gallery, [row]))
    seen = enlarged(view.seen(finished.tree.sees(node)), pixels)
    scale = pixels.shape[0] / view.canvas.shape[0]
    rows, columns = (slice(round(a * scale), round(b * scale)) for a, b in ((y0, y1), (x0, x1)))
    return grey_out(pixels[rows, columns], seen[rows, columns])


def enlarged(mask: NDArray[np.bool_], pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A canvas's mask over a photograph that is laid out alike, (H, W)."""
    (height, width), (h, w) = pixels.shape[:2], mask.shape
    found: NDArray[np.bool_] = mask[(np.arange(height) * h // height)[:, None], np.arange(width) * w // width]
    return found


def _around(there: NDArray[np.int64], times: float) -> slice:
    """From the first to the last of some places, with a margin, on something that is so many times as large."""
    first, last = int(there[0]), int(there[-1]) + 1
    margin = MARGIN * (last - first) + 1
    return slice(max(round((first - margin) * times), 0), round((last + margin) * times))
