"""Whether what the tree gives as a probability is one."""

from __future__ import annotations

from typing import Any

from heml.reporting.curves import reliability_figure
from heml.reporting.inline import figure_uri
from heml.reporting.run import Run

PLACE = 80
TITLE = "Probabilities"


def context(run: Run) -> dict[str, Any] | None:
    """Nothing where there are not both kinds of test pairs."""
    if not len(run.reliability):
        return None
    return {"figure": figure_uri(reliability_figure(run.reliability)), "off": run.metrics["tree_ece"]}
