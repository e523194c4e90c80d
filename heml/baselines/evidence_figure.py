"""Evidence as a picture: each map over both images, and lines between what is matched."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from numpy.typing import NDArray

from heml.baselines.evidence import Evidence

_ACROSS = 4


def heat(picture: NDArray[np.uint8], saliency: torch.Tensor) -> NDArray[np.uint8]:
    """A picture whose colours fade to grey where the saliency, (h, w) in [0, 1], is low, tinted where it is high: (h,
    w, 3)."""
    strength = saliency.numpy()[..., None]
    grey = picture.mean(2, keepdims=True) * 0.5 + 110
    tint = plt.get_cmap("inferno")(saliency.numpy())[..., :3] * 255
    found: NDArray[np.uint8] = (
        (grey * (1 - strength) + (0.45 * picture + 0.55 * tint) * strength).clip(0, 255).astype(np.uint8)
    )
    return found


def evidence_figure(title: str, evidence: Evidence, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Figure:
    """The two images side by side under each map, four maps a row.

    Args:
        first, second: (h, w, 3), as the method saw them.
    """
    across = min(len(evidence.maps), _ACROSS)
    down = -(-len(evidence.maps) // _ACROSS)
    tall = first.shape[0] / first.shape[1]
    figure, axes = plt.subplots(
        down, 2 * across, figsize=(1.6 * 2 * across, (1.6 * tall + 0.25) * down + 0.4), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for k, (name, maps) in enumerate(evidence.maps.items()):
        row, column = divmod(k, _ACROSS)
        left, right = axes[row, 2 * column], axes[row, 2 * column + 1]
        for axis, picture, saliency in zip((left, right), (first, second), maps, strict=True):
            axis.imshow(heat(picture, saliency))
        left.set_title(name, fontsize=8, loc="left")
    strongest = max((match.weight for match in evidence.matches), default=1.0)
    for match in evidence.matches:
        share = match.weight / strongest
        ends = _place(match.first, first), _place(match.second, second)
        line = ConnectionPatch(*ends, "data", "data", axesA=axes[0, 0], axesB=axes[0, 1], color="#1f77b4")
        line.set(alpha=0.25 + 0.7 * share, linewidth=0.6 + 2.4 * share)
        figure.add_artist(line)
    height = figure.get_figheight()
    figure.suptitle(
        f"{title}: distance {evidence.distance:.2f}", fontsize=9, x=0.01, y=1 - 0.06 / height, ha="left", va="top"
    )
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.45 / height, wspace=0.04, hspace=0.2)
    return figure


def _place(point: tuple[float, float], picture: NDArray[np.uint8]) -> tuple[float, float]:
    height, width = picture.shape[:2]
    return point[0] * width - 0.5, point[1] * height - 0.5
