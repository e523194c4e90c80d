"""What to look at: what siblings share, mistakes and the node to blame, labels to check, hard images and outliers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from heml.reporting.crops import crop
from heml.reporting.finished import Finished

PLACE = 90
TITLE = "What to look at"

SHOWN = 12
"""Images of each kind."""


def context(finished: Finished) -> dict[str, Any]:
    """The tables' first rows, with pictures."""
    audit = finished.audit
    held_out = audit.images[audit.images["split"] != "train"]
    return {
        "siblings": _records(audit.siblings.iloc[::-1]),
        "blame": audit.mistakes["blame"].value_counts().to_dict(),
        "mistakes": [_mistake(row, finished) for row in _records(audit.mistakes.head(SHOWN))],
        "mistake_count": len(audit.mistakes),
        "doubtful": _cards(audit.doubtful, finished),
        "doubtful_count": len(audit.doubtful),
        "hardest": _cards(held_out.sort_values("margin", kind="stable"), finished),
        "outliers": _cards(audit.images.sort_values("outlier", ascending=False, kind="stable"), finished),
    }


def _cards(table: pd.DataFrame, finished: Finished) -> list[dict[str, Any]]:
    return [row | {"picture": crop(finished, row["image_id"])["picture"]} for row in _records(table.head(SHOWN))]


def _mistake(row: dict[str, Any], finished: Finished) -> dict[str, Any]:
    return row | {"pictures": [crop(finished, row[key])["picture"] for key in ("image_id", "nearest", "right")]}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
