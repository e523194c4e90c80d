"""What the audit found, with pictures: siblings, mistakes, doubtful labels, hard images and outliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from heml.explanation.metric_tree import MetricTree
from heml.reporting.embedded import image_uri

SHOWN = 12
"""Images of each kind."""
DOUBT = 0.8
"""Share of neighbours with another label from which on a label is called doubtful."""


@dataclass(frozen=True)
class Audit:
    """`reports/audit/*.csv`."""

    siblings: pd.DataFrame
    mistakes: pd.DataFrame
    images: pd.DataFrame


def findings(audit: Audit, tree: MetricTree) -> dict[str, Any]:
    """The tables' first rows as the page shows them."""
    held_out = audit.images[audit.images["split"] != "train"]
    doubtful = audit.images[audit.images["doubt"] >= DOUBT].sort_values(["doubt", "wrong_nodes"], ascending=False, kind="stable")
    hardest = held_out.sort_values("margin", kind="stable")
    outliers = audit.images.sort_values("outlier", ascending=False, kind="stable")
    return {
        "siblings": _records(audit.siblings.iloc[::-1]),
        "blame": audit.mistakes["blame"].value_counts().to_dict(),
        "mistakes": [_mistake(row, tree) for row in _records(audit.mistakes.head(SHOWN))],
        "mistake_count": len(audit.mistakes),
        "doubtful": _cards(doubtful, tree),
        "doubtful_count": len(doubtful),
        "hardest": _cards(hardest, tree),
        "outliers": _cards(outliers, tree),
    }


def _picture(tree: MetricTree, image_id: str) -> str:
    assert tree.gallery is not None
    return image_uri(np.asarray(tree.gallery.canvases.pixels[tree.gallery.row(image_id)]))


def _cards(table: pd.DataFrame, tree: MetricTree) -> list[dict[str, Any]]:
    return [row | {"picture": _picture(tree, row["image_id"])} for row in _records(table.head(SHOWN))]


def _mistake(row: dict[str, Any], tree: MetricTree) -> dict[str, Any]:
    return row | {"pictures": [_picture(tree, row[key]) for key in ("image_id", "nearest", "right")]}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
