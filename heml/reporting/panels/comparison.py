"""Other methods on the same images: their scores, costs and explanations."""

from __future__ import annotations

from typing import Any

from heml.evaluation.retrieval import METRICS, SHOWN
from heml.reporting.finished import Finished
from heml.reporting.inline import file_uri

PLACE = 100
TITLE = "Other methods"


def context(finished: Finished) -> dict[str, Any]:
    """A row a method, and how each explains the drawn pairs."""
    names = list(finished.params.baselines)
    pairs = [
        {
            "first": first,
            "second": second,
            "pictures": [(name, file_uri(finished.run.comparison(name) / f"pair-{k}.png")) for name in names],
        }
        for k, (first, second) in enumerate(finished.drawn)
    ]
    return {
        "comparison": finished.comparison,
        "scores": {name: METRICS[name] for name in SHOWN},
        "pairs": pairs if names else [],
    }
