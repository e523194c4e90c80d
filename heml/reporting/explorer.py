"""What the page's own script works with, as JSON: pictures, outlines of parts, distances of every pair, neighbours,
places and curves.

Every image that can be shown stands once in one sheet of thumbnails; the test images that can be compared are there as
photographs besides. The distances of all their pairs are one array of 16-bit numbers per node, of which the page makes
evidence and distances as `heml.evaluation.tree_metric` does, with any parts switched off.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from heml.distances import Metric, standardise
from heml.evaluation.mapping import WHOLE
from heml.evaluation.pairing import pair_distances
from heml.evaluation.retrieval import nearest_but_itself
from heml.explanation.drawing import FULL, FULL_EDGE, SHADES, positions
from heml.explanation.exchange import Counterfactual
from heml.explanation.metric_tree import MetricTree
from heml.explanation.pairs import SPECK, Explanation, words
from heml.explanation.views import Gallery
from heml.reporting.audited import Audit
from heml.reporting.finished import Finished
from heml.reporting.inline import encoded, webp_uri
from heml.reporting.outlines import GRID
from heml.reporting.photographs import fine_outlines, photographs, small_outlines, thumbnail

MOST_TEST = 200
"""Test images that can be compared with each other."""
MOST_SHOWN = 1500
"""Images in the sheet, neighbours among them."""
NEIGHBOURS = 4
MISTAKES = 24
SIDE = 72
"""Longer side of a thumbnail, pixels, at most."""
_ACROSS = 25
_UNKNOWN = 65535
"""A distance or a neighbour that does not exist; the square roots of distances are in steps of 1/65534, since most are
small."""
_SCORES = ["p@1", "p@1_low", "p@1_high", "limit", "chance", "majority", "coverage", "auc", "tree_loses"]


def explorer(finished: Finished) -> dict[str, Any]:
    """The page's data."""
    tree, gallery, search = finished.metric, finished.gallery, finished.params.evaluate.search
    listed = _listed(tree, gallery, finished.audit)
    first = [gallery.row(name) for e, _ in listed for name in (e.first.name, e.second.name)]
    tests = _test_images(gallery, first)
    rows = _shown(gallery, tests, first, search)
    # Everything the browser is given speaks of images by their place in `rows`.
    place = {int(row): k for k, row in enumerate(rows)}
    nodes = _nodes(finished)
    for node in nodes:
        stored = gallery.embeddings[node["name"]]
        node["near"] = _neighbours(standardise(stored.vectors), stored.present, gallery, rows, search, "euclidean")
        node["pairs"] = _encode(_pairwise(gallery, node["name"], tests))
        node["map"] = _places(finished.places.get(node["name"], {}), rows, gallery)
    order = [node["name"] for node in nodes]
    sheet, tile = _sheet(photographs(gallery, rows, SIDE), len(rows))
    # Photographs at their own resolution for images that a pair can show; the others have thumbnails.
    clear = [*tests, *sorted(set(first) - set(tests))]
    photos = dict(zip(clear, photographs(gallery, clear), strict=True))
    fine = (
        dict(zip(clear, fine_outlines(gallery, clear, next(iter(photos.values())).shape), strict=True))
        if photos
        else {}
    )
    height, width = gallery.canvases.pixels.shape[1:3]
    anything = np.logical_or.reduce([gallery.embeddings[name].present for name in tree.metric.terms])
    return {
        "nodes": nodes,
        "images": _images(finished, rows),
        "tests": len(tests),
        "labels": finished.labels,
        "label": finished.description.label,
        "listed": [_pair(e, kind, tree.counterfactual(e.first, e.second), order, place, gallery) for e, kind in listed],
        "searched": "test" if search == "within" else "training",
        "near": _neighbours(gallery.vectors(tree.metric), anything, gallery, rows, search, tree.metric.metric),
        "map": _places(finished.places.get(WHOLE, {}), rows, gallery),
        "shades": SHADES,
        "full": FULL,
        "fullEdge": FULL_EDGE,
        "speck": SPECK,
        "photos": {place[row]: webp_uri(photo) for row, photo in photos.items()},
        "leaves": list(gallery.partitions),
        "outlines": [fine[row] if row in fine else small_outlines(gallery, row) for row in rows],
        "pixels": [[round(float(p.area[row]) * height * width) for p in gallery.partitions.values()] for row in rows],
        "sheet": sheet,
        "tile": tile,
        "across": _ACROSS,
        "grid": [round(GRID * width / max(width, height)), round(GRID * height / max(width, height))],
    }


def _images(finished: Finished, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Who the images are, and what was found about them."""
    gallery = finished.gallery
    taken = {
        image_id: int(label)
        for image_id, label in finished.audit.mistakes[["image_id", "nearest_label"]].itertuples(index=False)
    }
    suggested = {
        image_id: int(label)
        for image_id, label in finished.audit.doubtful[["image_id", "suggested"]].itertuples(index=False)
    }
    groups: dict[str, list[str]] = {}
    for part, kind, group, image_id in finished.bias.members.itertuples(index=False):
        groups.setdefault(image_id, []).append(f"{words(part)}, {kind}: {group}")
    found = []
    for row in rows:
        image_id = gallery.canvases.image_ids[row]
        about: dict[str, Any] = {
            "id": image_id,
            "split": str(gallery.canvases.splits[row]),
            "label": int(gallery.canvases.labels[row]),
        }
        about |= {key: of[image_id] for key, of in (("taken", taken), ("suggested", suggested)) if image_id in of}
        if image_id in groups:
            about["groups"] = groups[image_id]
        found.append(about)
    return found


def _listed(tree: MetricTree, gallery: Gallery, audit: Audit) -> list[tuple[Explanation, str]]:
    """Pairs with contributions: the surest mistakes with what they were taken for, then telling ones."""
    mistakes = audit.mistakes[["image_id", "nearest"]].head(MISTAKES)
    pairs = [(a, b, "mistake") for a, b in mistakes.itertuples(index=False)]
    pairs += [(a, b, "telling") for a, b in audit.pairs]
    return [(tree.explain(gallery.find(a), gallery.find(b)), kind) for a, b, kind in pairs]


def _pair(
    explanation: Explanation,
    kind: str,
    change: Counterfactual | None,
    order: Sequence[str],
    place: Mapping[int, int],
    gallery: Gallery,
) -> dict[str, Any]:
    ends = (place[gallery.row(view.name)] for view in (explanation.first, explanation.second))
    return dict(zip(("first", "second"), ends, strict=True)) | {"kind": kind} | told_pair(explanation, change, order)


def told_pair(explanation: Explanation, change: Counterfactual | None, order: Sequence[str]) -> dict[str, Any]:
    """What the page has of two images that were explained.

    Args:
        order: nodes as the page lists them.
    """
    nodes = [explanation.nodes[name] for name in order]
    return {
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
            "picture": webp_uri(change.image.canvas, max(128 // change.image.canvas.shape[0], 1)),
        },
    }


def _test_images(gallery: Gallery, wanted: Sequence[int]) -> list[int]:
    """Test images that the root sees: those in listed pairs, and others evenly, in stored order."""
    rows = gallery.embeddings[gallery.tree.root].rows("test")
    kept = [row for row in rows.tolist() if row in set(wanted)][:MOST_TEST]
    rest = np.setdiff1d(rows, kept)
    count = min(MOST_TEST - len(kept), len(rest))
    return sorted(kept + (rest[np.linspace(0, len(rest) - 1, count).astype(int)].tolist() if count else []))


def _shown(gallery: Gallery, tests: Sequence[int], listed: Sequence[int], search: str) -> list[int]:
    """Rows of all images on the page, the test images first: those of listed pairs, the nearest of the test images at
    every node, and others evenly, up to `MOST_SHOWN`."""
    total = len(gallery.canvases.image_ids)
    found = dict.fromkeys([*tests, *listed])
    if total > MOST_SHOWN:
        for stored in gallery.embeddings.values():
            held, asking = (
                stored.rows("test" if search == "within" else "train"),
                np.array(tests)[stored.present[list(tests)]],
            )
            if len(held) > 1 and len(asking):
                near = nearest_but_itself(standardise(stored.vectors), asking, held, 1, "euclidean")[1]
                found |= dict.fromkeys(held[near[:, 0]].tolist())
    rest = np.setdiff1d(np.arange(total), list(found))
    count = min(max(MOST_SHOWN - len(found), 0), len(rest))
    found |= dict.fromkeys(rest[np.linspace(0, len(rest) - 1, count).astype(int)].tolist() if count else [])
    return [*tests, *sorted(set(list(found)[:MOST_SHOWN]) - set(tests) | set(listed) - set(tests))]


def _neighbours(
    vectors: Any, present: NDArray[np.bool_], gallery: Gallery, rows: Sequence[int], search: str, metric: Metric
) -> str:
    """The nearest of each shown image among those shown of where it is searched (its own split, or training), as
    numbers on the page, `NEIGHBOURS` each."""
    at, splits = np.array(rows), gallery.canvases.splits
    found = np.full((len(at), NEIGHBOURS), _UNKNOWN)
    for split in np.unique(splits[at]):
        held = at[(splits[at] == (split if search == "within" else "train")) & present[at]]
        asking = np.flatnonzero((splits[at] == split) & present[at])
        if len(held) > 1 and len(asking):
            near = held[nearest_but_itself(vectors, at[asking], held, NEIGHBOURS, metric)[1]]
            place = np.full(len(splits), _UNKNOWN)
            place[at] = np.arange(len(at))
            found[asking, : near.shape[1]] = place[near]
    return _bytes(found)


def _pairwise(gallery: Gallery, node: str, rows: Sequence[int]) -> NDArray[np.float32]:
    """Distances of all pairs i < j, in the order (0, 1), (0, 2) … (1, 2) …"""
    a, b = np.triu_indices(len(rows), 1)
    at = np.array(rows)
    return pair_distances(gallery.embeddings[node], at[a], at[b])


def _encode(distances: NDArray[np.float32]) -> str:
    """Distances as 16-bit numbers."""
    return _bytes(np.where(np.isnan(distances), _UNKNOWN, np.sqrt(np.nan_to_num(distances)) * (_UNKNOWN - 1)).round())


def _places(places: Mapping[str, tuple[float, float]], rows: Sequence[int], gallery: Gallery) -> str:
    """(x, y) of every shown image in steps of 1/65534."""
    found = np.full((len(rows), 2), _UNKNOWN, np.float64)
    for k, row in enumerate(rows):
        if (place := places.get(gallery.canvases.image_ids[row])) is not None:
            found[k] = np.round(np.array(place) * (_UNKNOWN - 1))
    return _bytes(found)


def _bytes(values: NDArray[Any]) -> str:
    """Base64 of little-endian 16-bit numbers."""
    return base64.b64encode(values.astype("<u2").tobytes()).decode()


def _nodes(finished: Finished) -> list[dict[str, Any]]:
    """Nodes from the root down, each with its place, its scores, how to read it and its curve; names refer by
    number."""
    tree, leaves = finished.metric, list(finished.gallery.partitions)
    place = positions(tree.tree)
    order = [node.name for node, _ in tree.tree.depth_first()]
    scores = finished.table.set_index("node")
    history = {report["node"]: report["history"] for report in finished.nodes}
    height, width = finished.gallery.canvases.pixels.shape[1:3]
    found = []
    for name in order:
        row, term, header = scores.loc[name], tree.metric.terms[name], tree.headers[name]
        found.append(
            {
                "name": name,
                "children": [order.index(child) for child in tree.tree[name].children],
                "leaves": [leaves.index(leaf) for leaf in tree.tree.sees(name)],
                "box": [round(edge * GRID / max(width, height), 2) for edge in header.box],
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


def _sheet(pictures: Iterator[NDArray[np.uint8]], count: int) -> tuple[str, tuple[int, int]]:
    """All pictures, of one size, in rows of `_ACROSS`, as one picture, and the width and height of each."""
    sheet, w, h = None, 0, 0
    for k, picture in enumerate(pictures):
        if sheet is None:
            scale = SIDE / max(picture.shape[:2])
            h, w = (max(round(side * scale), 1) for side in picture.shape[:2])
            sheet = Image.new("RGB", (w * _ACROSS, h * -(-count // _ACROSS)))
        sheet.paste(thumbnail(picture, w, h), (k % _ACROSS * w, k // _ACROSS * h))
    assert sheet is not None  # a run has images
    return encoded(sheet, "webp", quality=80), (w, h)
