"""What every node cost to train."""

from __future__ import annotations

from typing import Any

from heml.reporting.finished import Finished

PLACE = 130
TITLE = "Cost"


def context(finished: Finished) -> dict[str, Any]:
    """A row a node."""
    rows = []
    for report in finished.nodes:
        x0, y0, x1, y1 = report["box"]
        rows.append(
            {
                "node": report["node"],
                "input": f"{x1 - x0}×{y1 - y0}",
                "start": report["start"],
                "images": report["present"]["train"],
                "epoch": report["best_epoch"],
                "seconds": report["seconds"],
                "rate": report["images_per_second"],
                "peak": report["peak_bytes"],
                "note": report["note"],
            }
        )
    return {"rows": rows}
