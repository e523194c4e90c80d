"""Two photographs, why the tree calls them the same or different, and what it would say without some parts."""

from __future__ import annotations

from typing import Any

from heml.explanation.drawing import SHADES
from heml.reporting.finished import Finished
from heml.reporting.inline import svg_uri

PLACE = 15
TITLE = "A pair"


def context(finished: Finished) -> dict[str, Any]:
    """The page's script draws it; for those who print, or have none, there is the first pair as a drawing."""
    drawn = []
    if finished.drawing:
        explanation, svg = finished.drawing
        names = explanation.first.name, explanation.second.name
        drawn.append(
            {"text": str(explanation), "sentence": explanation.sentence, "picture": svg_uri(svg), "pair": names}
        )
    return {"drawn": drawn, "shades": SHADES, "parts": finished.tree.leaves(finished.tree.root)}
