"""`reports/audit/`, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from heml.evaluation.audit import IMAGES, MISTAKES, SIBLINGS
from heml.evaluation.telling import read_pairs
from heml.explanation.views import Gallery
from heml.reading import check_known, read_csv
from heml.tree import Tree

DOUBT = 0.8
"""Share of neighbours with another label from which on a label is called doubtful."""


@dataclass(frozen=True)
class Audit:
    """`reports/audit/*.csv`."""

    siblings: pd.DataFrame
    mistakes: pd.DataFrame
    images: pd.DataFrame
    pairs: list[tuple[str, str]]
    """Telling ones, as image_ids."""

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
            read_pairs(folder / "pairs.csv", images),
        )

    @property
    def doubtful(self) -> pd.DataFrame:
        """Images whose label is to be checked, the most doubtful first."""
        found = self.images[self.images["doubt"] >= DOUBT]
        return found.sort_values(["doubt", "wrong_nodes"], ascending=False, kind="stable")
