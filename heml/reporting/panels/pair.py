"""Two photographs, why the tree calls them the same or different, and what it would say without some parts."""

from __future__ import annotations

from typing import Any

from heml.explanation.drawing import SHADES
from heml.reporting.inline import svg_uri
from heml.reporting.run import Run

PLACE = 30
TITLE = "A pair"


def context(run: Run) -> dict[str, Any]:
    """The page's script draws it; for those who print, or have none, there is the first pair as a drawing."""
    drawn = []
    if run.drawing:
        explanation, svg = run.drawing
        names = explanation.first.name, explanation.second.name
        drawn.append(
            {"text": str(explanation), "sentence": explanation.sentence, "picture": svg_uri(svg), "pair": names}
        )
    return {"drawn": drawn, "shades": SHADES, "parts": run.tree.leaves(run.tree.root)}
