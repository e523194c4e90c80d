"""Every node with its picture and scores, as a tree and as a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from heml.evaluation.retrieval import METRICS, SHOWN
from heml.explanation.drawing import positions
from heml.explanation.pairs import words
from heml.reporting.crops import node_picture
from heml.reporting.finished import Finished
from heml.reporting.inline import webp_uri

PLACE = 70
TITLE = "Nodes"


def context(finished: Finished) -> dict[str, Any]:
    """The drawing and the rows."""
    table = finished.table
    return {
        "tree": _tree(finished),
        "rows": table.to_dict("records")[::-1],
        "scores": {name: METRICS[name] for name in SHOWN},
        "above": table.loc[table["p@1_low"] > table["majority"], "node"].tolist(),
        "has_limit": bool(table["limit"].notna().any()),
        "repeats": finished.params.train.seeds,
    }


def _example(finished: Finished, node: str) -> int:
    """The test image (or any other) in which the node covers about the median area."""
    stored = finished.gallery.embeddings[node]
    rows = stored.rows("test")
    rows = rows if len(rows) else np.flatnonzero(stored.present)
    covered = sum(finished.gallery.partitions[leaf].area[rows] for leaf in finished.tree.sees(node))
    return int(rows[np.argsort(covered, kind="stable")[len(rows) // 2]])


def _tree(finished: Finished) -> dict[str, Any]:
    """Nodes with their place, picture and scores, and the edges between them; pixels of an SVG."""
    across, down, size = 108, 142, 72
    place = positions(finished.tree)
    top = max(y for _, y in place.values())
    table = finished.table.set_index("node")
    nodes, edges = [], []
    shared = _example(finished, finished.tree.root)
    for node in finished.tree:
        x, y = place[node.name][0] * across + across / 2, (top - place[node.name][1]) * down + 18
        present = finished.gallery.embeddings[node.name].present[shared]
        picture = node_picture(finished, shared if present else _example(finished, node.name), node.name)
        scale = min(size / picture.shape[1], size / picture.shape[0])
        row = table.loc[node.name]
        nodes.append(
            {
                "name": words(node.name),
                "x": x,
                "y": y,
                "width": picture.shape[1] * scale,
                "height": picture.shape[0] * scale,
                "picture": webp_uri(picture),
                "p1": row["p@1"],
                "limit": row["limit"],
                "chance": row["chance"],
                "coverage": row["coverage"],
            }
        )
        for child in node.children:
            cx, cy = place[child][0] * across + across / 2, (top - place[child][1]) * down + 18
            edges.append(f"M{x:g} {y + size + 34:g}V{(y + size + 34 + cy - 14) / 2:g}H{cx:g}V{cy - 14:g}")
    return {
        "nodes": nodes,
        "edges": edges,
        "width": len(finished.tree.leaves()) * across,
        "height": (top + 1) * down + 4,
        "size": size,
    }
