"""Figures for paper and README: a pair's tree of distances (the form of the paper's Figure 4)."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from heml.explanation.pairs import Explanation
from heml.tree import Tree


def positions(tree: Tree) -> dict[str, tuple[float, int]]:
    """Where nodes stand: x is the leaf's number or the middle of the children, y the height above the leaves."""
    order = tree.leaves(tree.root)
    place: dict[str, tuple[float, int]] = {}

    def visit(name: str) -> tuple[float, int]:
        children = tree[name].children
        if not children:
            place[name] = (float(order.index(name)), 0)
        else:
            below = [visit(child) for child in children]
            place[name] = (sum(x for x, _ in below) / len(below), max(y for _, y in below) + 1)
        return place[name]

    visit(tree.root)
    return place


def pair_figure(explanation: Explanation, pictures: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> Figure:
    """Leaves below, the whole image on top; at each node both segments and their distance, an edge to its parent.

    Colours run from green, closer than most held-out pairs, to red.

    Args:
        pictures: node → the two images' (h, w, 3) uint8 segment pictures.
    """
    tree = explanation.tree
    place = positions(tree)
    columns, rows = len(tree.leaves()), max(y for _, y in place.values()) + 1
    figure, axes = plt.subplots(figsize=(max(1.15 * columns, 6), 1.45 * rows))
    axes.set(xlim=(-0.55, columns - 0.45), ylim=(-0.6, rows - 0.35))
    axes.set_axis_off()
    colour = plt.get_cmap("RdYlGn_r")
    for name, (x, y) in place.items():
        node = explanation.nodes[name]
        for child in tree[name].children:
            cx, cy = place[child]
            axes.plot([x, x, cx, cx], [y - 0.3, y - 0.42, y - 0.42, cy + 0.36], color="0.6", lw=1, zorder=0)
        for k, picture in enumerate(pictures[name]):
            h, w = picture.shape[:2]
            half = 0.22
            sx, sy = half * min(1, w / h), half * 1.1 * min(1, h / w)
            centre = x + (k - 0.5) * 0.47
            axes.imshow(picture, extent=(centre - sx, centre + sx, y - sy, y + sy), aspect="auto", zorder=2)
        axes.text(x, y + 0.28, name, ha="center", va="bottom", fontsize=8)
        known = not np.isnan(node.distance)
        text = f"{node.distance:.2f}" if known else "absent"
        # by percentile, since nodes stretch their distances differently
        shade = node.distance if np.isnan(node.percentile) else node.percentile / 100
        face = colour(0.15 + 0.7 * min(shade, 1.0)) if known else (0.9, 0.9, 0.9, 1.0)
        axes.text(x, y - 0.27, text, ha="center", va="top", fontsize=8, bbox={"boxstyle": "round,pad=0.2", "fc": face, "ec": "none"})
    figure.tight_layout(pad=0.2)
    return figure
