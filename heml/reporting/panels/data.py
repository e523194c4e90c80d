"""How many images of what, which may be the same, and which were left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from heml.images.shards import SPLITS
from heml.reporting.run import Run

PLACE = 140
TITLE = "Data"


def context(run: Run) -> dict[str, Any]:
    """Counts, near-duplicates and what could not be used."""
    return {
        "splits": _splits(run),
        "duplicates": run.duplicates.to_dict("records"),
        "near_duplicate": run.params.evaluate.near_duplicate,
        "skipped": run.description.skipped,
    }


def _splits(run: Run) -> list[dict[str, Any]]:
    stored = run.gallery.canvases
    rows = []
    for split in SPLITS:
        labels = stored.labels[stored.splits == split]
        counts = np.bincount(labels, minlength=len(run.labels))
        there = counts[counts > 0]
        of_labels = {"labels": len(there), "fewest": there.min(initial=len(labels)), "most": there.max(initial=0)}
        rows.append({"split": split, "images": len(labels), "counts": counts.tolist()} | of_labels)
    return rows
