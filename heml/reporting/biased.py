"""`reports/bias/`, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from heml.bias.group_scores import GROUPS
from heml.bias.reliance import RELIANCE
from heml.bias.remedies import REMEDIES
from heml.bias.ties import ASSOCIATIONS
from heml.bias.write import MEMBERS
from heml.explanation.views import Gallery
from heml.reading import Findings, check_known, read_csv, read_json

_WORDS = ("part", "kind", "group", "label", "follows", "remedy", "setting", "image_id")
"""Columns of text."""


@dataclass(frozen=True)
class Bias:
    """`reports/bias/`."""

    told: dict[str, Any]
    """`findings.json`."""
    associations: pd.DataFrame
    members: pd.DataFrame
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
        columns = {
            "associations": ASSOCIATIONS,
            "members": MEMBERS,
            "groups": GROUPS,
            "reliance": RELIANCE,
            "remedies": REMEDIES,
        }
        return cls(found, *(read_csv(folder / f"{name}.csv", again, known, _WORDS) for name, known in columns.items()))
