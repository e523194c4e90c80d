"""How many images of what, which may be the same, and which were left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from heml.images.shards import SPLITS
from heml.reporting.finished import Finished

PLACE = 140
TITLE = "Data"


def context(finished: Finished) -> dict[str, Any]:
    """Counts, near-duplicates and what could not be used."""
    return {
        "splits": _splits(finished),
        "duplicates": finished.duplicates.to_dict("records"),
        "near_duplicate": finished.params.evaluate.near_duplicate,
        "skipped": finished.description.skipped,
    }


def _splits(finished: Finished) -> list[dict[str, Any]]:
    stored = finished.gallery.canvases
    rows = []
    for split in SPLITS:
        labels = stored.labels[stored.splits == split]
        counts = np.bincount(labels, minlength=len(finished.labels))
        there = counts[counts > 0]
        of_labels = {"labels": len(there), "fewest": there.min(initial=len(labels)), "most": there.max(initial=0)}
        rows.append({"split": split, "images": len(labels), "counts": counts.tolist()} | of_labels)
    return rows
