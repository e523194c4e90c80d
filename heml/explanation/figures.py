"""Plates of pictures: neighbours side by side."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from heml.errors import shown


def grid_figure(title: str, pictures: Sequence[tuple[NDArray[np.uint8], str, bool | None]], across: int = 5) -> Figure:
    """Pictures with captions in rows, the first set apart.

    Args:
        pictures: (h, w, 3) uint8, a caption, and whether its frame is green (True), red (False) or absent (None).
    """
    down = -(-len(pictures) // across)
    tall = max(p.shape[0] / p.shape[1] for p, _, _ in pictures)
    figure, axes = plt.subplots(down, across, figsize=(1.5 * across, (1.5 * tall + 0.45) * down + 0.35), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (picture, caption, right) in zip(axes.flat, pictures, strict=False):
        axis.imshow(picture)
        axis.set_title(shown(caption, "\n"), fontsize=7, parse_math=False)
        if right is not None:
            height, width = picture.shape[:2]
            axis.add_patch(
                Rectangle((-0.5, -0.5), width, height, fill=False, lw=3, ec="#2e8b57" if right else "#d9533b")
            )
    height = figure.get_figheight()
    figure.suptitle(shown(title), fontsize=9, x=0.01, y=1 - 0.06 / height, ha="left", va="top", parse_math=False)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.6 / height, wspace=0.06, hspace=0.3)
    return figure
