"""Loss and score of every node over the epochs."""

from __future__ import annotations

from typing import Any

from heml.reporting.curves import curve_figure, curve_table
from heml.reporting.finished import Finished
from heml.reporting.inline import figure_uri

PLACE = 120
TITLE = "Curves"


def context(finished: Finished) -> dict[str, Any]:
    """The figure."""
    return {"figure": figure_uri(curve_figure(curve_table(finished.nodes)))}
