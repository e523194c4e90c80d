"""All images, to be filtered, found by id and compared by any part; and where they lie by it."""

from __future__ import annotations

from typing import Any

from heml.reporting.run import Run

PLACE = 40
TITLE = "Gallery"


def context(run: Run) -> dict[str, Any]:
    """The page's script fills it."""
    return {"total": len(run.gallery.canvases.image_ids)}
