"""Licences and terms of the data and of the segmenter."""

from __future__ import annotations

from typing import Any

from heml.reporting.finished import Finished

PLACE = 150
TITLE = "Terms"


def context(finished: Finished) -> dict[str, Any]:
    """As they were printed when the data were fetched."""
    return {"terms": finished.terms}
