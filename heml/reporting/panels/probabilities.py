"""Whether what the tree gives as a probability is one."""

from __future__ import annotations

from typing import Any

from heml.reporting.curves import reliability_figure
from heml.reporting.finished import Finished
from heml.reporting.inline import figure_uri

PLACE = 80
TITLE = "Probabilities"


def context(finished: Finished) -> dict[str, Any] | None:
    """Nothing where there are not both kinds of test pairs."""
    if not len(finished.reliability):
        return None
    return {"figure": figure_uri(reliability_figure(finished.reliability)), "off": finished.metrics["tree_ece"]}
