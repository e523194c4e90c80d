"""A pair's tree of distances as a drawing, SVG and PNG (the form of the paper's Figure 4).

The SVG is written here and rendered by resvg: a plotting library would take longer to import than all the rest of an
explanation.
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
from heml.errors import shown
from heml.explanation.pairs import Explanation, NodeEvidence, signed
from heml.learning.inputs import Box
from heml.tree import Tree

WIDE, TALL = 126, 150
"""Pixels that a leaf takes across and a level takes down."""

FONT = "DejaVu Sans"
GREY = "#bfbfbf"
APART, ALIKE = "#b2182b", "#2166ac"
SHADES = ["#ef8a62", "#fddbc7", "#f7f7f7", "#d1e5f0", "#67a9cf"]
"""From evidence against one label to evidence for it: ColorBrewer's red to blue, which colour-blind people tell
apart."""
FULL = 1.5
"""Evidence of a node that has the full colour, in log-odds; the same for every pair."""
FULL_EDGE = 6.0
"""Sum of evidence whose edge is thickest."""

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
    """Leaves below, the whole image on top; at each node both segments, its evidence, and an edge to its parent.

    Blue speaks for one label, red against it, on one scale for all pairs. An edge is as thick as the sum of the
    evidence below.
    """
    tree = explanation.tree
    place = positions(tree)
    columns, rows = len(tree.leaves()), max(y for _, y in place.values()) + 1
    width, height = max(WIDE * columns + 12, 820), TALL * rows + 8
    left = (width - WIDE * columns) / 2
    centre = {name: (left + WIDE * (x + 0.5), height - TALL * (y + 0.5) - 4) for name, (x, y) in place.items()}
    edges, nodes = [], []
    for name, (x, y) in centre.items():
        for child in tree[name].children:
            cx, cy = centre[child]
            thick, colour = _edge(explanation.nodes[child].subtree)
            path = f"M{x:.1f} {y + 69:.1f}H{cx:.1f}V{cy - 58:.1f}"
            edges.append(f'<path d="{path}" stroke="{colour}" stroke-width="{thick:.2f}"/>')
        if tree[name].children:
            edges.append(f'<path d="M{x:.1f} {y + 50:.1f}V{y + 69:.1f}" stroke="{GREY}" stroke-width="1"/>')
        nodes += [_picture(p, x + (k - 0.5) * 59, y) for k, p in enumerate(pictures[name])]
        nodes.append(f'<text x="{x:.1f}" y="{y - 42:.1f}" text-anchor="middle">{_text(name)}</text>')
        nodes.append(_chip(explanation.nodes[name], x, y + 48))
    legend = "".join(f'<tspan x="10" dy="17">{_text(line)}</tspan>' for line in _legend(explanation))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}"'
        f' height="{height}" viewBox="0 0 {width} {height}" font-family="{FONT}, Verdana, sans-serif"'
        f' font-size="12"><rect width="{width}" height="{height}" fill="#fff"/><g fill="none"'
        f' stroke-linejoin="round">{"".join(edges)}</g>{"".join(nodes)}<text y="4"'
        f' fill="#595959">{legend}</text></svg>\n'
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
    return (
        f'<image {box} preserveAspectRatio="none" image-rendering="optimizeSpeed"'
        f' xlink:href="data:image/png;base64,{data}"/>'
    )


def _edge(subtree: float) -> tuple[float, str]:
    """Width in pixels and colour of the edge above a node."""
    if not subtree:
        return 1.0, GREY
    return 1 + 10 * min(abs(subtree) / FULL_EDGE, 1), ALIKE if subtree > 0 else APART


def _chip(node: NodeEvidence, x: float, y: float) -> str:
    """The evidence below a node's pictures, on its colour."""
    text, colour = ("absent", "#e6e6e6") if node.absence else (signed(node.evidence), _shade(node.evidence))
    half = 4.1 * len(text) + 4
    return (
        f'<rect x="{x - half:.1f}" y="{y - 9:.1f}" width="{2 * half:.1f}" height="18" rx="4" fill="{colour}"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{text}</text>'
    )


def _shade(evidence: float) -> str:
    """A colour between the scale's own."""
    at = (min(max(evidence / FULL, -1.0), 1.0) + 1) / 2 * (len(SHADES) - 1)
    low = min(int(at), len(SHADES) - 2)
    ends = [[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in SHADES[low : low + 2]]
    return "#" + "".join(f"{round(a + (b - a) * (at - low)):02x}" for a, b in zip(*ends, strict=True))


def _legend(explanation: Explanation) -> list[str]:
    lines = textwrap.wrap(shown(f"{explanation.first.name} and {explanation.second.name}"), 48)
    lines += textwrap.wrap(shown(explanation.sentence), 48)
    return [
        *lines,
        "numbers: evidence in log-odds, + (blue) for one",
        "label, − (red) against it; all sum to " + signed(explanation.log_odds),
        "edges: the sum of what stands below",
    ]


def _text(name: str) -> str:
    return escape(shown(name))  # XML cannot hold control characters, however escaped


def to_png(svg: str) -> bytes:
    """An SVG drawing rendered at its own size; letters come from the font that matplotlib ships."""
    import resvg_py

    package = importlib.util.find_spec("matplotlib")
    assert package
    fonts = [
        str(Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")
        for folder in package.submodule_search_locations or ()
    ]
    # the font has these; for others look on the machine
    known = all(ord(letter) < 0x530 or letter in "≠\ufffd" for letter in svg)
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, font_files=fonts, skip_system_fonts=known, font_family=FONT))


def segment_pictures(
    explanation: Explanation, boxes: Mapping[str, Box]
) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """What every node sees of both images.

    Args:
        boxes: node → its box.
    """
    tree = explanation.tree
    first, second = explanation.first, explanation.second
    return {
        name: (first.picture(tree.sees(name), boxes[name]), second.picture(tree.sees(name), boxes[name]))
        for name in tree.nodes
    }


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
