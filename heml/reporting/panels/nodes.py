"""Every node with its picture and scores, as a tree and as a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from heml.explanation.drawing import positions
from heml.reporting.inline import webp_uri
from heml.reporting.run import Run

PLACE = 70
TITLE = "Nodes"


def context(run: Run) -> dict[str, Any]:
    """The drawing and the rows."""
    table = run.table
    return {
        "tree": _tree(run),
        "rows": table.to_dict("records")[::-1],
        "above": table.loc[table["p@1_low"] > table["majority"], "node"].tolist(),
        "has_limit": bool(table["limit"].notna().any()),
        "repeats": run.params.train.seeds,
    }


def _example(run: Run, node: str) -> int:
    """The test image (or any other) in which the node covers about the median area."""
    stored = run.gallery.embeddings[node]
    rows = stored.rows("test")
    rows = rows if len(rows) else np.flatnonzero(stored.present)
    covered = sum(run.gallery.partitions[leaf].area[rows] for leaf in run.tree.sees(node))
    return int(rows[np.argsort(covered, kind="stable")[len(rows) // 2]])


def _tree(run: Run) -> dict[str, Any]:
    """Nodes with their place, picture and scores, and the edges between them; pixels of an SVG."""
    across, down, size = 108, 142, 72
    place = positions(run.tree)
    top = max(y for _, y in place.values())
    table = run.table.set_index("node")
    nodes, edges = [], []
    shared = _example(run, run.tree.root)
    for node in run.tree:
        x, y = place[node.name][0] * across + across / 2, (top - place[node.name][1]) * down + 18
        present = run.gallery.embeddings[node.name].present[shared]
        view = run.gallery.view(shared if present else _example(run, node.name))
        picture = view.picture(run.tree.sees(node.name), run.metric.headers[node.name].box)
        scale = min(size / picture.shape[1], size / picture.shape[0])
        row = table.loc[node.name]
        nodes.append(
            {
                "name": node.name,
                "x": x,
                "y": y,
                "width": picture.shape[1] * scale,
                "height": picture.shape[0] * scale,
                "picture": webp_uri(picture, 2),
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
        "width": len(run.tree.leaves()) * across,
        "height": (top + 1) * down + 4,
        "size": size,
    }
