"""Other methods on the same images: their scores, costs and explanations."""

from __future__ import annotations

from typing import Any

from heml.reporting.inline import file_uri
from heml.reporting.run import Run

PLACE = 100
TITLE = "Other methods"


def context(run: Run) -> dict[str, Any]:
    """A row a method, and how each explains the drawn pairs."""
    names = list(run.params.baselines)
    pairs = [
        {
            "first": first,
            "second": second,
            "pictures": [(name, file_uri(run.reports / "comparison" / name / f"pair-{k}.png")) for name in names],
        }
        for k, (first, second) in enumerate(run.drawn)
    ]
    return {"comparison": run.comparison, "pairs": pairs if names else []}
