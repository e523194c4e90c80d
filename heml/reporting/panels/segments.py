"""Where the parts come from, and how well they are found."""

from __future__ import annotations

from typing import Any

import numpy as np

from heml.explanation.pictures import overlay, palette
from heml.reporting.crops import enlarged
from heml.reporting.finished import Finished
from heml.reporting.inline import webp_uri
from heml.reporting.photographs import photographs

PLACE = 110
TITLE = "Segments"


def context(finished: Finished) -> dict[str, Any]:
    """The segmenter's report, test images beside their segments, and the legend."""
    leaves = finished.tree.leaves(finished.tree.root)
    colours = palette(len(leaves))
    rows = np.flatnonzero(finished.gallery.canvases.splits == "test")
    chosen = rows[np.linspace(0, len(rows) - 1, min(finished.params.report.overlays, len(rows))).astype(int)]
    partitions = [finished.gallery.partitions[leaf] for leaf in leaves]
    examples = []
    for row, pixels in zip(chosen.tolist(), photographs(finished.gallery, chosen.tolist()), strict=True):
        view = finished.gallery.view(row)
        masks = np.stack([enlarged(view.masks[leaf], pixels) for leaf in leaves])
        pair = np.concatenate([pixels, overlay(pixels, masks, colours)], axis=1)
        examples.append({"image_id": view.name, "picture": webp_uri(pair, max(128 // pixels.shape[0], 1))})
    legend = [
        {"name": leaf, "colour": "#{:02x}{:02x}{:02x}".format(*colour), "present": float(part.present.mean())}
        for leaf, colour, part in zip(leaves, colours.tolist(), partitions, strict=True)
    ]
    return {"segmenter": finished.segmenter, "examples": examples, "legend": legend}
