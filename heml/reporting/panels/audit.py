"""What to look at: what siblings share, mistakes and the node to blame, labels to check, hard images and outliers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from heml.reporting.crops import crop
from heml.reporting.run import Run

PLACE = 90
TITLE = "What to look at"

SHOWN = 12
"""Images of each kind."""


def context(run: Run) -> dict[str, Any]:
    """The tables' first rows, with pictures."""
    audit = run.audit
    held_out = audit.images[audit.images["split"] != "train"]
    return {
        "siblings": _records(audit.siblings.iloc[::-1]),
        "blame": audit.mistakes["blame"].value_counts().to_dict(),
        "mistakes": [_mistake(row, run) for row in _records(audit.mistakes.head(SHOWN))],
        "mistake_count": len(audit.mistakes),
        "doubtful": _cards(audit.doubtful, run),
        "doubtful_count": len(audit.doubtful),
        "hardest": _cards(held_out.sort_values("margin", kind="stable"), run),
        "outliers": _cards(audit.images.sort_values("outlier", ascending=False, kind="stable"), run),
    }


def _cards(table: pd.DataFrame, run: Run) -> list[dict[str, Any]]:
    return [row | {"picture": crop(run, row["image_id"])["picture"]} for row in _records(table.head(SHOWN))]


def _mistake(row: dict[str, Any], run: Run) -> dict[str, Any]:
    return row | {"pictures": [crop(run, row[key])["picture"] for key in ("image_id", "nearest", "right")]}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
