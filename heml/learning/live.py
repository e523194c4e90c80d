"""Curves while a network trains: a file each, whole after every epoch, for DVC's tables and plots. No stage reads it;
the report says the same in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heml.json_file import write_json

Watch = Callable[[Sequence[Mapping[str, Any]]], None]
"""Is given a training's history after every epoch."""

COLUMNS = ("epoch", "loss", "val_p1")


@contextmanager
def live_curve(path: Path, name: str) -> Iterator[Watch]:
    """Yield what writes a history so far to `path`: its last row as metrics under `name`, all rows as `epochs`, null
    where nothing was measured.

    The file goes with the block, for a table of metrics is of what is true of the folder; it stays where training
    failed.
    """

    def write(history: Sequence[Mapping[str, Any]]) -> None:
        rows = [{key: row.get(key) for key in COLUMNS} for row in history]
        write_json(path, {name: rows[-1], "epochs": rows})

    yield write
    path.unlink(missing_ok=True)
