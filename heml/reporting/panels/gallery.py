"""All images, to be filtered, found by id and compared by any part; and where they lie by it."""

from __future__ import annotations

from typing import Any

from heml.reporting.finished import Finished

PLACE = 40
TITLE = "Gallery"


def context(finished: Finished) -> dict[str, Any]:
    """The page's script fills it."""
    return {"total": len(finished.gallery.canvases.image_ids)}
