"""The page's first section: which part tells the label in `train` alone, with its typical images, and what the tree makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heml.bias.groups import GROUPS
from heml.bias.reliance import RELIANCE
from heml.bias.remedies import REMEDIES
from heml.bias.ties import ASSOCIATIONS
from heml.explanation.metric_tree import MetricTree
from heml.explanation.pictures import grey_out
from heml.explanation.views import Gallery
from heml.learning.inputs import NodeImages, compose
from heml.learning.recipes import KEPT
from heml.params import Params
from heml.reading import Findings, check_known, read_csv, read_json
from heml.reporting.embedded import image_uri
from heml.tree import Tree

SAMPLES = 6
"""Recomposed images that are shown of a segment."""
MARGIN = 0.25
"""Around a part, as a share of its sides."""
_WORDS = ("part", "kind", "group", "label", "follows", "remedy", "setting")
"""Columns of text."""
SIDE = 96
"""Pixels that the longer side of a crop is enlarged to, at least."""


@dataclass(frozen=True)
class Bias:
    """`reports/bias/`."""

    told: dict[str, Any]
    """`findings.json`."""
    associations: pd.DataFrame
    groups: pd.DataFrame
    reliance: pd.DataFrame
    remedies: pd.DataFrame

    @classmethod
    def read(cls, folder: Path, gallery: Gallery) -> Bias:
        """Read what the stage `bias` wrote.

        Raises:
            HemlError: missing, damaged, or of other images than there are.
        """
        again, told = "dvc repro bias", folder / "findings.json"
        found = read_json(told, again, Findings)
        typical = [image_id for finding in found["findings"] for ids in finding["typical"].values() for image_id in ids]
        check_known(told, again, typical, set(gallery.canvases.image_ids), "image")
        columns = {"associations": ASSOCIATIONS, "groups": GROUPS, "reliance": RELIANCE, "remedies": REMEDIES}
        return cls(found, *(read_csv(folder / f"{name}.csv", again, known, _WORDS) for name, known in columns.items()))


def bias_section(bias: Bias, metric: MetricTree, params: Params, data: Path) -> dict[str, Any]:
    """What the template `bias.html.j2` shows."""
    return {
        "findings": [_finding(finding, bias, metric) for finding in bias.told["findings"]],
        "caveats": bias.told["caveats"],
        "chance": bias.told["chance"],
        "looked": len(bias.associations),
        "strongest": _strongest(bias.associations),
        "turning": _turning(bias.reliance),
        "recomposed": [_samples(part, params, data) for part in params.recompose],
    }


def _finding(finding: dict[str, Any], bias: Bias, metric: MetricTree) -> dict[str, Any]:
    own = _of(bias.groups, finding)
    return finding | {
        "sides": [
            {"group": group, "label": finding["told"][group], "crops": [_crop(metric, image_id, finding["part"]) for image_id in ids]}
            for group, ids in finding["typical"].items()
        ],
        "groups": own.to_dict("records"),
        "remedies": _of(bias.remedies, finding).fillna({"setting": ""}).to_dict("records"),
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
    found = reliance[(reliance["group"] == "all") & (reliance["different"] > 0)].sort_values("turned", ascending=False, kind="stable")
    return [{str(k): v for k, v in row.items()} for row in found.to_dict("records")]


def _crop(metric: MetricTree, image_id: str, part: str) -> dict[str, str]:
    """A part as it lies in an image, a margin around it; the whole image where the part is none, or not there."""
    assert metric.gallery is not None
    view = metric.gallery.find(image_id)
    pixels, mask = view.canvas, view.masks.get(part)
    if mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        dy, dx = (round(MARGIN * float(np.ptp(found) + 1)) + 1 for found in (rows, columns))
        pixels = pixels[max(rows[0] - dy, 0) : rows[-1] + dy + 1, max(columns[0] - dx, 0) : columns[-1] + dx + 1]
    return {"image_id": image_id, "picture": image_uri(np.ascontiguousarray(pixels), max(SIDE // max(pixels.shape[:2]), 1))}


def _samples(part: str, params: Params, data: Path) -> dict[str, Any]:
    """Base, donor and result of the first recipes of a segment, as the root sees them."""
    leaves = Tree.from_params(params).leaves()
    images = compose(data / "canvases", data / "segments", leaves, recipes=data / "recipes")
    place = [leaf for leaf in leaves if leaf in params.recompose].index(part)
    donors = images.recomposed[place].recipes.donors[:, 0]
    return {"part": part, "samples": [_sample(images, row, int(donors[row])) for row in np.flatnonzero(donors >= 0)[:SAMPLES].tolist()]}


def _sample(images: NodeImages, row: int, donor: int) -> dict[str, Any]:
    shape = (images.canvas.height, images.canvas.width)
    pictures = []
    for at, draw in ((row, KEPT), (donor, KEPT), (row, 0)):
        image, seen = images.made(at, shape, [draw] * len(images.recomposed))
        pictures.append(image_uri(grey_out(image, seen), max(SIDE // max(shape), 1)))
    return {"base": images.image_ids[row], "donor": images.image_ids[donor], "pictures": pictures}
