"""What the page's interactive tree is made of: pictures in sheets, distances of every pair, neighbours and curves, as JSON.

Pictures are small: every image that can be shown stands once in one sheet, every segment's masks in another, and the page
cuts them out. The distances of all pairs of the shown test images are one array of 16-bit numbers per node; the page makes evidence of
them as `heml.evaluation.tree_metric` does.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from heml.distances import standardise
from heml.evaluation.pairing import pair_distances
from heml.evaluation.retrieval import nearest_but_itself
from heml.explanation.drawing import FULL, FULL_EDGE, SHADES, positions
from heml.explanation.exchange import Counterfactual
from heml.explanation.metric_tree import MetricTree
from heml.explanation.pairs import Explanation, telling_pairs, words
from heml.explanation.views import Gallery
from heml.reporting.embedded import image_uri

MOST_TEST = 200
"""Test images that can be compared with each other."""
MOST_SHOWN = 2000
"""Images in the sheets, their neighbours among them."""
NEIGHBOURS = 4
MISTAKES = 24
TELLING = 8
SIDE = 64
"""Longer side of a picture, pixels, at most."""
_ACROSS = 25
_UNKNOWN = 65535
"""A distance that does not exist; the square roots of others are in steps of 1/65534, since most distances are small."""


def explorer(
    tree: MetricTree, mistakes: pd.DataFrame, table: pd.DataFrame, reports: Sequence[Mapping[str, Any]], search: str
) -> dict[str, Any]:
    """The page's data.

    Args:
        mistakes: `reports/audit/mistakes.csv`. table: `reports/nodes.csv`. reports: `reports/nodes/*.json`.
        search: where test images look for their neighbours (`evaluate.search`).
    """
    gallery = tree.gallery
    assert gallery is not None
    listed = _listed(tree, gallery, mistakes)
    first = [gallery.row(name) for e, _ in listed for name in (e.first.name, e.second.name)]
    tests = _test_images(gallery, first)
    near = _neighbours(gallery, tests, search)
    while len(tests) > 2 and len(_shown(tests, first, near)) > MOST_SHOWN:
        tests = tests[::2]
        near = _neighbours(gallery, tests, search)
    rows = np.array(_shown(tests, first, near))
    place = {int(row): k for k, row in enumerate(rows)} | {-1: -1}
    root = gallery.embeddings[tree.tree.root]
    leaves = list(gallery.partitions)
    nodes = _nodes(tree, leaves, table, reports)
    for node in nodes:
        node["near"] = [[place[int(r)] for r in found] for found in near[node["name"]]]
        node["pairs"] = _encode(_pairwise(gallery, node["name"], tests))
    order = [node["name"] for node in nodes]
    sheet, width, height = _sheet([np.asarray(gallery.canvases.pixels[row]) for row in rows])
    return {
        "nodes": nodes,
        "images": [{"id": root.image_ids[r], "split": str(root.splits[r]), "label": int(root.labels[r])} for r in rows],
        "tests": len(tests),
        "listed": [_pair(e, kind, tree.counterfactual(e.first, e.second), order, place, gallery) for e, kind in listed],
        "searched": "test" if search == "within" else "training",
        "shades": SHADES,
        "full": FULL,
        "fullEdge": FULL_EDGE,
        "sheet": sheet,
        "present": [gallery.partitions[leaf].present[rows].astype(int).tolist() for leaf in leaves],
        "masks": [_mask_sheet([gallery.partitions[leaf].mask(int(row)) for row in rows], (width, height)) for leaf in leaves],
        "tile": [width, height],
        "canvas": [gallery.canvases.pixels.shape[2], gallery.canvases.pixels.shape[1]],
        "across": _ACROSS,
    }


def _listed(tree: MetricTree, gallery: Gallery, mistakes: pd.DataFrame) -> list[tuple[Explanation, str]]:
    """Pairs with contributions: telling ones, then the surest mistakes with what they were taken for."""
    pairs = [(a, b, "telling") for a, b in telling_pairs(gallery.embeddings, tree.tree, TELLING)]
    pairs += [(a, b, "mistake") for a, b in mistakes[["image_id", "nearest"]].head(MISTAKES).itertuples(index=False)]
    found = []
    for a, b, kind in pairs:
        found.append((tree.explain(gallery.find(a), gallery.find(b)), kind))
    return found


def _pair(
    explanation: Explanation, kind: str, change: Counterfactual | None, order: Sequence[str], place: Mapping[int, int], gallery: Gallery
) -> dict[str, Any]:
    nodes = [explanation.nodes[name] for name in order]
    return {
        "first": place[gallery.row(explanation.first.name)],
        "second": place[gallery.row(explanation.second.name)],
        "kind": kind,
        "sentence": explanation.sentence,
        "logOdds": explanation.log_odds,
        "distance": [None if np.isnan(d.distance) else d.distance for d in nodes],
        "evidence": [d.evidence for d in nodes],
        "share": [None if np.isnan(d.share) else round(d.share, 7) for d in nodes],
        "change": None
        if change is None
        else {
            "segments": [words(name) for name in change.segments],
            "donor": change.donor.name,
            "logOdds": change.log_odds,
            "picture": image_uri(change.image.canvas, max(96 // change.image.canvas.shape[0], 1)),
        },
    }


def _test_images(gallery: Gallery, wanted: Sequence[int]) -> list[int]:
    """Test images that the root sees: those in listed pairs, and others evenly, in stored order."""
    rows = gallery.embeddings[gallery.tree.root].rows("test")
    kept = [row for row in rows.tolist() if row in set(wanted)][:MOST_TEST]
    rest = np.setdiff1d(rows, kept)
    count = min(MOST_TEST - len(kept), len(rest))
    return sorted(kept + (rest[np.linspace(0, len(rest) - 1, count).astype(int)].tolist() if count else []))


def _shown(tests: Sequence[int], listed: Sequence[int], near: Mapping[str, NDArray[np.int64]]) -> list[int]:
    """Rows of all images that stand in the sheets, the test images first."""
    others = {*listed, *(int(row) for found in near.values() for row in found.ravel())} - {-1, *tests}
    return [*tests, *sorted(others)]


def _neighbours(gallery: Gallery, tests: Sequence[int], search: str) -> dict[str, NDArray[np.int64]]:
    """The nearest of each test image at each node, (T, k); −1 where there is none."""
    found = {}
    for name, stored in gallery.embeddings.items():
        near = np.full((len(tests), NEIGHBOURS), -1)
        held, asking = stored.rows("test" if search == "within" else "train"), np.flatnonzero(stored.present[tests])
        if len(held) > 1 and len(asking):
            vectors = standardise(stored.vectors)
            rows = held[nearest_but_itself(vectors, np.array(tests)[asking], held, NEIGHBOURS, "euclidean")[1]]
            near[asking, : rows.shape[1]] = rows
        found[name] = near
    return found


def _pairwise(gallery: Gallery, node: str, rows: Sequence[int]) -> NDArray[np.float32]:
    """Distances of all pairs i < j, in the order (0, 1), (0, 2) … (1, 2) …"""
    a, b = np.triu_indices(len(rows), 1)
    at = np.array(rows)
    return pair_distances(gallery.embeddings[node], at[a], at[b])


def _encode(distances: NDArray[np.float32]) -> str:
    """Base64 of little-endian 16-bit numbers."""
    scaled = np.where(np.isnan(distances), _UNKNOWN, np.sqrt(np.nan_to_num(distances)) * (_UNKNOWN - 1)).round()
    return base64.b64encode(scaled.astype("<u2").tobytes()).decode()


def _nodes(tree: MetricTree, leaves: Sequence[str], table: pd.DataFrame, reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Nodes from the root down, each with its place, its scores, how to read it and its curve; names refer by number."""
    place = positions(tree.tree)
    order = [node.name for node, _ in tree.tree.depth_first()]
    scores = table.set_index("node")
    history = {report["node"]: report["history"] for report in reports}
    found = []
    for name in order:
        row, term, header = scores.loc[name], tree.metric.terms[name], tree.headers[name]
        found.append(
            {
                "name": name,
                "children": [order.index(child) for child in tree.tree[name].children],
                "leaves": [leaves.index(leaf) for leaf in tree.tree.sees(name)],
                "box": list(header.box),
                "x": place[name][0],
                "y": place[name][1],
                "threshold": term.threshold,
                "slope": term.slope,
                "weight": term.weight,
                "quantiles": term.quantiles,
                "scores": {key: None if pd.isna(row[key]) else round(float(row[key]), 4) for key in _SCORES},
                "curve": [[e["epoch"], e["val_p1"]] for e in history[name]],
            }
        )
    return found


_SCORES = ["p@1", "p@1_low", "p@1_high", "limit", "chance", "majority", "coverage", "auc", "tree_loses"]


def _sheet(pictures: Sequence[NDArray[np.uint8]]) -> tuple[str, int, int]:
    """All pictures in rows of `_ACROSS`, as a JPEG's data URI, and the width and height of each."""
    height, width = pictures[0].shape[:2]
    scale = min(SIDE / max(height, width), 1)
    w, h = max(round(width * scale), 1), max(round(height * scale), 1)
    sheet = Image.new("RGB", (w * _ACROSS, h * -(-len(pictures) // _ACROSS)))
    for k, picture in enumerate(pictures):
        tile = Image.fromarray(picture)
        sheet.paste(tile if scale == 1 else tile.resize((w, h), Image.Resampling.LANCZOS), (k % _ACROSS * w, k // _ACROSS * h))
    return _uri(sheet, "jpeg", quality=82), w, h


def _mask_sheet(masks: Sequence[NDArray[np.bool_]], tile: tuple[int, int]) -> str:
    """All masks of a segment likewise, as a two-colour PNG that is opaque where the segment is."""
    w, h = tile
    sheet = Image.new("1", (w * _ACROSS, h * -(-len(masks) // _ACROSS)))
    for k, mask in enumerate(masks):
        if mask.any():
            grey = Image.fromarray(mask.astype(np.uint8) * 255).resize((w, h), Image.Resampling.BOX)
            sheet.paste(grey.point(lambda v: 255 * (v >= 128)), (k % _ACROSS * w, k // _ACROSS * h))
    return _uri(sheet, "png", optimize=True, transparency=0)


def _uri(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
