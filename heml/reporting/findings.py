"""What the audit found, with pictures: siblings, mistakes, doubtful labels, hard images and outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heml.evaluation.audit import IMAGES, MISTAKES, SIBLINGS
from heml.explanation.metric_tree import MetricTree
from heml.explanation.views import Gallery
from heml.reading import check_known, read_csv
from heml.reporting.embedded import image_uri
from heml.tree import Tree

SHOWN = 12
"""Images of each kind."""
DOUBT = 0.8
"""Share of neighbours with another label from which on a label is called doubtful."""


@dataclass(frozen=True)
class Audit:
    """`reports/audit/*.csv`."""

    siblings: pd.DataFrame
    mistakes: pd.DataFrame
    images: pd.DataFrame

    @classmethod
    def read(cls, folder: Path, tree: Tree, gallery: Gallery) -> Audit:
        """Read what the stage `audit` wrote.

        Raises:
            HemlError: missing, damaged, or of other nodes or images than there are.
        """
        nodes, images = {node.name for node in tree}, set(gallery.canvases.image_ids)

        def table(name: str, columns: Sequence[str], of_nodes: Sequence[str], of_images: Sequence[str]) -> pd.DataFrame:
            path, words = folder / f"{name}.csv", (*of_nodes, *of_images, "split", "nearest_split")
            found = read_csv(path, "dvc repro audit", columns, words)
            for names, known, what in ((of_nodes, nodes, "node"), (of_images, images, "image")):
                for column in names:
                    check_known(path, "dvc repro audit", found[column], known, what)
            return found

        return cls(
            table("siblings", SIBLINGS, ["node", "left", "right"], []),
            table("mistakes", MISTAKES, ["blame"], ["image_id", "nearest", "right"]),
            table("images", IMAGES, [], ["image_id"]),
        )


def findings(audit: Audit, tree: MetricTree) -> dict[str, Any]:
    """The tables' first rows as the page shows them."""
    held_out = audit.images[audit.images["split"] != "train"]
    doubtful = audit.images[audit.images["doubt"] >= DOUBT].sort_values(["doubt", "wrong_nodes"], ascending=False, kind="stable")
    hardest = held_out.sort_values("margin", kind="stable")
    outliers = audit.images.sort_values("outlier", ascending=False, kind="stable")
    return {
        "siblings": _records(audit.siblings.iloc[::-1]),
        "blame": audit.mistakes["blame"].value_counts().to_dict(),
        "mistakes": [_mistake(row, tree) for row in _records(audit.mistakes.head(SHOWN))],
        "mistake_count": len(audit.mistakes),
        "doubtful": _cards(doubtful, tree),
        "doubtful_count": len(doubtful),
        "hardest": _cards(hardest, tree),
        "outliers": _cards(outliers, tree),
    }


def _picture(tree: MetricTree, image_id: str) -> str:
    assert tree.gallery is not None
    return image_uri(np.asarray(tree.gallery.canvases.pixels[tree.gallery.row(image_id)]))


def _cards(table: pd.DataFrame, tree: MetricTree) -> list[dict[str, Any]]:
    return [row | {"picture": _picture(tree, row["image_id"])} for row in _records(table.head(SHOWN))]


def _mistake(row: dict[str, Any], tree: MetricTree) -> dict[str, Any]:
    return row | {"pictures": [_picture(tree, row[key]) for key in ("image_id", "nearest", "right")]}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
