"""The outline of a mask as polygons of a few bytes, which stay sharp at any size."""

from __future__ import annotations

import base64

import contourpy
import numpy as np
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from PIL import Image

GRID = 255
"""Steps along the longer side of what the mask lies on: a coordinate is one byte."""
TOLERANCE = 0.7
_FINE = 128
"""Smaller masks are enlarged to this, so that their corners are round."""
_MOST = 255
"""Corners of a ring: their number is one byte."""


def outlines(mask: NDArray[np.bool_], tolerance: float = TOLERANCE) -> str:
    """Base64 of one byte n and n pairs of bytes (x, y) per ring; nothing for an empty mask. Rings within rings are
    holes (even-odd).

    Args:
        mask: (h, w); its longer side is `GRID` steps.
        tolerance: steps that a corner may be off.
    """
    if not mask.any():
        return ""
    h, w = mask.shape
    enlarged = max(1, -(-_FINE // max(h, w)))
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize((w * enlarged, h * enlarged), Image.Resampling.BILINEAR)
    padded = np.pad(np.asarray(grey, np.float32) / 255, 1)
    step = GRID / max(h, w) / enlarged
    x, y = ((np.arange(size) - 0.5) * step for size in padded.shape[::-1])
    lines = contourpy.contour_generator(x, y, padded, line_type="Separate").lines(0.5)
    rings = [ring for ring in (_ring(np.asarray(line, np.float64), tolerance) for line in lines) if len(ring) > 2]
    return base64.b64encode(b"".join(bytes([len(ring)]) + ring.tobytes() for ring in rings)).decode()


def _ring(line: NDArray[np.float64], tolerance: float) -> NDArray[np.uint8]:
    """The corners of a closed line that matter, (n, 2)."""
    while True:
        polygon = Polygon(line)
        polygon.should_simplify, polygon.simplify_threshold = True, tolerance
        cleaned = polygon.cleaned(simplify=True)
        corners = np.asarray(cleaned.vertices)[np.asarray(cleaned.codes) != Polygon.STOP]
        whole = np.clip(corners.round(), 0, GRID).astype(np.uint8)
        kept: NDArray[np.uint8] = whole[np.append(True, (np.diff(whole.astype(int), axis=0) != 0).any(1))]
        if len(kept) > 1 and (kept[0] == kept[-1]).all():
            kept = kept[:-1]
        if len(kept) <= _MOST:
            return kept
        tolerance *= 1.5
