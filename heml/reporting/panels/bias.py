"""Which part tells the label in `train` alone, with its typical images, and what the tree makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from heml.explanation.pictures import grey_out
from heml.learning.inputs import NodeImages, compose
from heml.learning.recipes import KEPT
from heml.reporting.crops import crop
from heml.reporting.finished import Finished
from heml.reporting.inline import webp_uri

PLACE = 20
TITLE = "Bias"

SAMPLES = 6
"""Recomposed images that are shown of a segment."""
SIDE = 96
"""Pixels that the longer side of one is enlarged to, at least."""


def context(finished: Finished) -> dict[str, Any]:
    """What was found, what else was looked at, and samples of what is recomposed."""
    bias = finished.bias
    return {
        "findings": [_finding(finding, finished) for finding in bias.told["findings"]],
        "caveats": bias.told["caveats"],
        "chance": bias.told["chance"],
        "looked": len(bias.associations),
        "strongest": _strongest(bias.associations),
        "turning": _turning(bias.reliance),
        "recomposed": [_samples(part, finished) for part in finished.params.recompose],
    }


def _finding(finding: dict[str, Any], finished: Finished) -> dict[str, Any]:
    own = _of(finished.bias.groups, finding)
    return finding | {
        "sides": [
            {
                "group": group,
                "label": finding["told"][group],
                "crops": [crop(finished, image_id, finding["part"]) for image_id in ids],
            }
            for group, ids in finding["typical"].items()
        ],
        "groups": own.to_dict("records"),
        "remedies": _of(finished.bias.remedies, finding).fillna({"setting": ""}).to_dict("records"),
        "lowest": own.loc[~own["few"].astype(bool), "p@1"].min(),
        "highest": own["p@1"].max(),
    }


def _of(table: pd.DataFrame, finding: dict[str, Any]) -> pd.DataFrame:
    own: pd.DataFrame = table[(table["part"] == finding["part"]) & (table["kind"] == finding["kind"])]
    return own


def _strongest(associations: pd.DataFrame) -> list[dict[str, Any]]:
    """What tells the label in `train`, the most first, whether or not it does so elsewhere."""
    found = associations[associations["v_train"] >= 0.1].sort_values("v_train", ascending=False, kind="stable").head(8)
    return [{str(k): v for k, v in row.items()} for row in found.to_dict("records")]


def _turning(reliance: pd.DataFrame) -> list[dict[str, Any]]:
    """How often one part is enough to turn the decision, the most often first."""
    found = reliance[(reliance["group"] == "all") & (reliance["different"] > 0)].sort_values(
        "turned", ascending=False, kind="stable"
    )
    return [{str(k): v for k, v in row.items()} for row in found.to_dict("records")]


def _samples(part: str, finished: Finished) -> dict[str, Any]:
    """Base, donor and result of the first recipes of a segment, as the root sees them."""
    leaves = finished.tree.leaves()
    images = compose(leaves, finished.run, recompose=True)
    place = [leaf for leaf in leaves if leaf in finished.params.recompose].index(part)
    donors = images.recomposed[place].recipes.donors[:, 0]
    return {
        "part": part,
        "samples": [_sample(images, row, int(donors[row])) for row in np.flatnonzero(donors >= 0)[:SAMPLES].tolist()],
    }


def _sample(images: NodeImages, row: int, donor: int) -> dict[str, Any]:
    shape = (images.canvas.height, images.canvas.width)
    pictures = []
    for at, draw in ((row, KEPT), (donor, KEPT), (row, 0)):
        image, seen = images.made(at, shape, [draw] * len(images.recomposed))
        pictures.append(webp_uri(grey_out(image, seen), max(SIDE // max(shape), 1)))
    return {"base": images.image_ids[row], "donor": images.image_ids[donor], "pictures": pictures}
