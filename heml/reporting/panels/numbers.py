"""The few numbers that compare one run with another, each in plain words."""

from __future__ import annotations

from typing import Any

from heml.reporting.finished import Finished

PLACE = 60
TITLE = "Numbers"


def context(finished: Finished) -> dict[str, Any]:
    """Metrics, the root's row and the segmenter's score."""
    return {
        "metrics": finished.metrics,
        "root": finished.table.set_index("node").loc[finished.tree.root].to_dict(),
        "segmenter": finished.segmenter,
        "has_limit": bool(finished.table["limit"].notna().any()),
    }
