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


def heat(picture: NDArray[np.uint8], saliency: torch.Tensor) -> NDArray[np.uint8]:
    """A picture whose colours fade to grey where the saliency, (h, w) in [0, 1], is low, tinted where it is high: (h, w, 3)."""
    strength = saliency.numpy()[..., None]
    grey = picture.mean(2, keepdims=True) * 0.5 + 110
    tint = plt.get_cmap("inferno")(saliency.numpy())[..., :3] * 255
    found: NDArray[np.uint8] = (grey * (1 - strength) + (0.45 * picture + 0.55 * tint) * strength).clip(0, 255).astype(np.uint8)
    return found


def evidence_figure(title: str, evidence: Evidence, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Figure:
    """The two images side by side under each map.

    Args:
        first, second: (h, w, 3), as the method saw them.
    """
    count = len(evidence.maps)
    tall = first.shape[0] / first.shape[1]
    figure, axes = plt.subplots(1, 2 * count, figsize=(1.6 * 2 * count, 1.6 * tall + 0.75), squeeze=False)
    for k, (name, maps) in enumerate(evidence.maps.items()):
        left, right = axes[0, 2 * k], axes[0, 2 * k + 1]
        for axis, picture, saliency in zip((left, right), (first, second), maps, strict=True):
            axis.imshow(heat(picture, saliency))
            axis.set_axis_off()
        left.set_title(name, fontsize=8, loc="left")
        if k == 0:
            strongest = max((match.weight for match in evidence.matches), default=1.0)
            for match in evidence.matches:
                figure.add_artist(
                    ConnectionPatch(
                        _place(match.first, first),
                        _place(match.second, second),
                        "data",
                        "data",
                        axesA=left,
                        axesB=right,
                        color="#1f77b4",
                        alpha=0.25 + 0.7 * match.weight / strongest,
                        lw=0.6 + 2.4 * match.weight / strongest,
                    )
                )
    figure.suptitle(f"{title}: distance {evidence.distance:.2f}", fontsize=9, x=0.02, ha="left")
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.55 / figure.get_figheight(), wspace=0.04)
    return figure


def _place(point: tuple[float, float], picture: NDArray[np.uint8]) -> tuple[float, float]:
    height, width = picture.shape[:2]
    return point[0] * width - 0.5, point[1] * height - 0.5
