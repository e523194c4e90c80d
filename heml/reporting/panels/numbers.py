"""The few numbers that compare one run with another, each in plain words."""

from __future__ import annotations

from typing import Any

from heml.reporting.run import Run

PLACE = 60
TITLE = "Numbers"


def context(run: Run) -> dict[str, Any]:
    """Metrics, the root's row and the segmenter's score."""
    return {
        "metrics": run.metrics,
        "root": run.table.set_index("node").loc[run.tree.root].to_dict(),
        "segmenter": run.segmenter,
        "has_limit": bool(run.table["limit"].notna().any()),
    }
