"""A pair's tree of distances as a drawing, SVG and PNG (the form of the paper's Figure 4).

The SVG is written here and rendered by resvg: a plotting library would take longer to import than all the rest of an explanation.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import textwrap
from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heml.atomic import new_file
from heml.explanation.pairs import Explanation, NodeDistance, digits
from heml.learning.inputs import Box
from heml.tree import Tree

WIDE, TALL = 126, 150
"""Pixels that a leaf takes across and a level takes down."""

FONT = "DejaVu Sans"
GREY = "#bfbfbf"
APART, ALIKE = "#d9533b", "#3b73d9"
SHADES = ["#006837", "#1a9850", "#66bd63", "#a6d96a", "#d9ef8b", "#ffffbf", "#fee08b", "#fdae61", "#f46d43", "#d73027", "#a50026"]
"""From near to far: ColorBrewer's red, yellow and green."""

Pictures = Mapping[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Node → what it sees of both images, (h, w, 3) uint8."""


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


def pair_svg(explanation: Explanation, pictures: Pictures) -> str:
    """Leaves below, the whole image on top; at each node both segments, their distance and decision, and an edge to its parent.

    An edge is as thick as what the parts below contribute to the root's distance: red keeps the two apart, blue makes them
    alike. Chips run from green, closer than most held-out pairs, to red.
    """
    tree = explanation.tree
    place = positions(tree)
    columns, rows = len(tree.leaves()), max(y for _, y in place.values()) + 1
    width, height = max(WIDE * columns + 12, 820), TALL * rows + 8
    left = (width - WIDE * columns) / 2
    centre = {name: (left + WIDE * (x + 0.5), height - TALL * (y + 0.5) - 4) for name, (x, y) in place.items()}
    most = max((abs(d.contribution) for d in explanation.nodes.values() if not np.isnan(d.contribution)), default=0.0)
    edges, nodes = [], []
    for name, (x, y) in centre.items():
        for child in tree[name].children:
            cx, cy = centre[child]
            thick, colour = _edge(explanation.nodes[child].contribution, most)
            path = f"M{x:.1f} {y + 69:.1f}H{cx:.1f}V{cy - 58:.1f}"
            edges.append(f'<path d="{path}" stroke="{colour}" stroke-width="{thick:.2f}"/>')
        if tree[name].children:
            edges.append(f'<path d="M{x:.1f} {y + 50:.1f}V{y + 69:.1f}" stroke="{GREY}" stroke-width="1"/>')
        nodes += [_picture(p, x + (k - 0.5) * 59, y) for k, p in enumerate(pictures[name])]
        nodes.append(f'<text x="{x:.1f}" y="{y - 42:.1f}" text-anchor="middle">{_text(name)}</text>')
        nodes.append(_chip(explanation.nodes[name], x, y + 48))
    legend = "".join(f'<tspan x="10" dy="17">{_text(line)}</tspan>' for line in _legend(explanation))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{FONT}, Verdana, sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#fff"/><g fill="none" stroke-linejoin="round">{"".join(edges)}</g>'
        f'{"".join(nodes)}<text y="4" fill="#595959">{legend}</text></svg>\n'
    )


def _picture(picture: NDArray[np.uint8], x: float, y: float) -> str:
    """A picture of at most 55×72 pixels around a point, its own pixels to be seen."""
    h, w = picture.shape[:2]
    scale = min(55 / w, 72 / h)
    w, h = w * scale, h * scale
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode()
    box = f'x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}"'
    return f'<image {box} preserveAspectRatio="none" image-rendering="optimizeSpeed" xlink:href="data:image/png;base64,{data}"/>'


def _edge(contribution: float, most: float) -> tuple[float, str]:
    """Width in pixels and colour of the edge above a node."""
    if np.isnan(contribution) or not most:
        return 1.0, GREY
    return 1 + 10 * abs(contribution) / most, APART if contribution > 0 else ALIKE


def _chip(node: NodeDistance, x: float, y: float) -> str:
    """The distance and decision below a node's pictures, on its colour."""
    if np.isnan(node.distance):
        text, colour = "absent", "#e6e6e6"
    else:
        text = f"{ ({'same': '= ', 'different': '≠ '}.get(node.decision or '', '')) }{digits(node.distance)}"
        # by percentile, since nodes stretch their distances differently
        colour = _shade(node.distance if np.isnan(node.percentile) else node.percentile / 100)
    half = 4.1 * len(text) + 4
    return (
        f'<rect x="{x - half:.1f}" y="{y - 9:.1f}" width="{2 * half:.1f}" height="18" rx="4" fill="{colour}"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{text}</text>'
    )


def _shade(share: float) -> str:
    """A colour between the scale's own, of which the darkest ends are left out, since text stands on it: share in [0, 1]."""
    at = (0.15 + 0.7 * min(max(share, 0.0), 1.0)) * (len(SHADES) - 1)
    low = min(int(at), len(SHADES) - 2)
    ends = [[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in SHADES[low : low + 2]]
    return "#" + "".join(f"{round(a + (b - a) * (at - low)):02x}" for a, b in zip(*ends, strict=True))


def _legend(explanation: Explanation) -> list[str]:
    told = f": {explanation.decision}" if explanation.decision else ""
    lines = textwrap.wrap(_printable(f"{explanation.first.name} and {explanation.second.name}{told}"), 48)
    if explanation.decision:
        lines.append("= same, ≠ different, by the node alone")
    if not np.isnan(explanation.nodes[explanation.tree.root].contribution):
        lines += ["edges: what the parts below contribute to the whole's", "distance; red apart, blue alike"]
    return lines


def _text(name: str) -> str:
    return escape(_printable(name))


def _printable(name: str) -> str:
    """Without control characters, which XML cannot hold, however escaped."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def to_png(svg: str) -> bytes:
    """An SVG drawing rendered at its own size; letters come from the font that matplotlib ships."""
    import resvg_py

    package = importlib.util.find_spec("matplotlib")
    assert package
    fonts = [str(Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf") for folder in package.submodule_search_locations or ()]
    known = all(ord(letter) < 0x530 or letter in "≠\ufffd" for letter in svg)  # the font has these; for others look on the machine
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, font_files=fonts, skip_system_fonts=known, font_family=FONT))


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
    svg = pair_svg(explanation, segment_pictures(explanation, boxes))
    found = json.dumps(explanation.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    contents = {"png": to_png(svg), "svg": svg.encode(), "json": found.encode()}
    paths = {kind: stem.with_name(f"{stem.name}.{kind}") for kind in contents}
    for kind, path in paths.items():
        with new_file(path) as partial:
            partial.write_bytes(contents[kind])
    return list(paths.values())
