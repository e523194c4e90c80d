"""Figures for paper and README: a pair's tree of distances (the form of the paper's Figure 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from heml.atomic import new_file
from heml.explanation.pairs import Explanation, NodeDistance, digits
from heml.learning.inputs import Box
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
    """Leaves below, the whole image on top; at each node both segments, their distance and decision, and an edge to its parent.

    An edge is as thick as what the parts below contribute to the root's distance: red keeps the two apart, blue makes them
    alike. Chips run from green, closer than most held-out pairs, to red.

    Args:
        pictures: node → the two images' (h, w, 3) uint8 segment pictures.
    """
    tree = explanation.tree
    place = positions(tree)
    columns, rows = len(tree.leaves()), max(y for _, y in place.values()) + 1
    figure, axes = plt.subplots(figsize=(max(1.15 * columns, 6), 1.45 * rows))
    axes.set(xlim=(-0.55, columns - 0.45), ylim=(-0.62, rows - 0.35))
    axes.set_axis_off()
    most = max((abs(d.contribution) for d in explanation.nodes.values() if not np.isnan(d.contribution)), default=0.0)
    for name, (x, y) in place.items():
        for child in tree[name].children:
            cx, cy = place[child]
            width, colour = _edge(explanation.nodes[child].contribution, most)
            axes.plot([x, cx, cx], [y - 0.46, y - 0.46, cy + 0.4], color=colour, lw=width, zorder=0, solid_joinstyle="round")
        if tree[name].children:
            axes.plot([x, x], [y - 0.3, y - 0.46], color="0.75", lw=1, zorder=0)
        for k, picture in enumerate(pictures[name]):
            h, w = picture.shape[:2]
            half = 0.22
            sx, sy = half * min(1, w / h), half * 1.1 * min(1, h / w)
            centre = x + (k - 0.5) * 0.47
            axes.imshow(picture, extent=(centre - sx, centre + sx, y - sy, y + sy), aspect="auto", zorder=2)
        axes.text(x, y + 0.28, name, ha="center", va="bottom", fontsize=8, parse_math=False)
        text, face = _chip(explanation.nodes[name])
        axes.text(x, y - 0.27, text, ha="center", va="top", fontsize=8, bbox={"boxstyle": "round,pad=0.2", "fc": face, "ec": "none"})
    axes.text(-0.5, rows - 0.4, _legend(explanation), ha="left", va="top", fontsize=8, color="0.35", linespacing=1.5, parse_math=False)
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.99)
    return figure


def _edge(contribution: float, most: float) -> tuple[float, str]:
    """Width in points and colour of the edge above a node."""
    if np.isnan(contribution) or not most:
        return 1.0, "0.75"
    return 0.6 + 7 * abs(contribution) / most, "#d9533b" if contribution > 0 else "#3b73d9"


def _chip(node: NodeDistance) -> tuple[str, tuple[float, float, float, float]]:
    """The text below a node's pictures and the colour behind it."""
    if np.isnan(node.distance):
        return "absent", (0.9, 0.9, 0.9, 1.0)
    sign = {"same": "= ", "different": "≠ ", None: ""}[node.decision]
    # by percentile, since nodes stretch their distances differently
    shade = node.distance if np.isnan(node.percentile) else node.percentile / 100
    return f"{sign}{digits(node.distance)}", plt.get_cmap("RdYlGn_r")(0.15 + 0.7 * min(shade, 1.0))


def _legend(explanation: Explanation) -> str:
    lines = [f"{explanation.first.name} and {explanation.second.name}" + (f": {explanation.decision}" if explanation.decision else "")]
    if explanation.decision:
        lines.append("= same, ≠ different, by the node alone")
    if not np.isnan(explanation.nodes[explanation.tree.root].contribution):
        lines.append("edges: what the parts below contribute to the whole's\ndistance; red apart, blue alike")
    return "\n".join(lines)


def segment_pictures(explanation: Explanation, boxes: Mapping[str, Box]) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """What every node sees of both images.

    Args:
        boxes: node → its box.
    """
    tree = explanation.tree
    views = explanation.first, explanation.second
    return {name: tuple(view.picture(tree.leaves(name), boxes[name]) for view in views) for name in tree.nodes}  # type: ignore[misc]


def write_explanation(explanation: Explanation, boxes: Mapping[str, Box], stem: Path) -> list[Path]:
    """Write `<stem>.png`, `<stem>.svg` and `<stem>.json`; returns the paths."""
    figure = pair_figure(explanation, segment_pictures(explanation, boxes))
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg", "json")]
    for path in paths[:2]:
        with new_file(path) as partial, plt.rc_context({"svg.hashsalt": "heml", "svg.fonttype": "none"}):
            figure.savefig(partial, format=path.suffix[1:], dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    with new_file(paths[2]) as partial:
        partial.write_text(json.dumps(explanation.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    return paths


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
        axis.set_title(caption, fontsize=7, parse_math=False)
        if right is not None:
            height, width = picture.shape[:2]
            axis.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, lw=3, ec="#2e8b57" if right else "#d9533b"))
    height = figure.get_figheight()
    figure.suptitle(title, fontsize=9, x=0.01, y=1 - 0.06 / height, ha="left", va="top", parse_math=False)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.6 / height, wspace=0.06, hspace=0.3)
    return figure
