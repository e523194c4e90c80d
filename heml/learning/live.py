"""Curves while a node trains: a file per node, whole after every epoch. No stage reads it; the report says the same in
the end."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heml.atomic import new_file

Watch = Callable[[Sequence[Mapping[str, Any]]], None]
"""Is given a training's history after every epoch."""

COLUMNS = ("epoch", "loss", "val_p1")


def curve_writer(path: Path, node: str) -> Watch:
    """What writes the history of `node` so far to `path`, as CSV: `node` and `COLUMNS`, empty where nothing was
    measured."""

    def write(history: Sequence[Mapping[str, Any]]) -> None:
        with new_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("node", *COLUMNS))
            rows.writerows([node, *(_cell(row.get(key)) for key in COLUMNS)] for row in history)

    return write


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"
