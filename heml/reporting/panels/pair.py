"""Two photographs, why the tree calls them the same or different, and what it would say without some parts."""

from __future__ import annotations

from typing import Any

from heml.explanation.drawing import SHADES, pair_svg, segment_pictures
from heml.reporting.embedded import svg_uri
from heml.reporting.run import Run

PLACE = 30
TITLE = "A pair"


def context(run: Run) -> dict[str, Any]:
    """The page's script draws it; for those who print, or have none, there is the first pair as a drawing."""
    drawn = []
    for first, second in run.drawn[:1]:
        explanation = run.metric.explain(run.gallery.find(first), run.gallery.find(second))
        boxes = {name: header.box for name, header in run.metric.headers.items()}
        picture = svg_uri(pair_svg(explanation, segment_pictures(explanation, boxes)))
        drawn.append({"text": str(explanation), "sentence": explanation.sentence, "picture": picture, "pair": (first, second)})
    return {"drawn": drawn, "shades": SHADES, "parts": run.tree.leaves(run.tree.root)}
