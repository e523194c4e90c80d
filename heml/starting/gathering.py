"""Photographs laid out as the pipeline reads them, in the project, where DVC sees them. What they come from stays
untouched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from heml.atomic import new_folder
from heml.datasets.words import is_missing
from heml.errors import HemlError
from heml.progress import progress
from heml.starting.looking import Photos
from heml.starting.table import Table

NOTE = "FROM.txt"
"""Says where a gathered folder comes from, and that it may be made anew."""


def gather(photos: Photos, table: Table | None, label: str | None, folder: Path, force: bool) -> None:
    """Lay out the photographs in a new folder: files are linked where the disk allows, so that they take no room twice,
    else copied.

    Args:
        table: becomes `labels.csv`; images that it lacks, or whose `label` is missing, are left out.
        force: may replace a folder that was gathered before.

    Raises:
        HemlError: the folder is there and was not gathered, or `force` is not given.
    """
    if folder.exists() and not (force and (folder / NOTE).is_file()):
        why = (
            "was gathered before; --force makes it anew"
            if (folder / NOTE).is_file()
            else "is there already, and not of this command's making"
        )
        raise HemlError(
            f"{folder}:"
            f" {why}{'' if (folder / NOTE).is_file() else '; move it away, or rename the folder of photographs'}"
        )
    rows = None
    if table:
        rows = {i: row for i, row in table.rows.items() if not (label and is_missing(row[label]))}
    with new_folder(folder) as partial:
        _lay(photos.images, partial / "images", "images")
        if photos.masks:
            _lay(photos.masks, partial / "masks", "masks")
            shutil.copy2(photos.root / "classes.json", partial / "classes.json")
        if table and rows is not None:
            _write(table, rows, partial / "labels.csv")
        for name in ("LICENSE", "LICENCE", "TERMS"):
            for path in sorted(photos.root.glob(f"{name}*")):
                if path.is_file() and path.stem.upper() == name:
                    shutil.copy2(path, partial / path.name)
        (partial / NOTE).write_text(
            f"Gathered by `heml init` from {photos.root.resolve()}, whose files these are.\n"
            "New photographs there are not seen here: run `heml init … --force` again.\n",
            "utf-8",
            errors="replace",
        )


def _lay(files: Mapping[str, Path], folder: Path, what: str) -> None:
    folder.mkdir()
    for path in progress(files.values(), what, len(files), "file"):
        try:
            os.link(path.resolve(), folder / path.name)
        except OSError:  # another disk, or one without links
            shutil.copy2(path, folder / path.name)


def _write(table: Table, rows: Mapping[str, Mapping[str, str]], path: Path) -> None:
    import pandas as pd

    columns = ["image_id", *table.columns, *(["split"] if table.splits else [])]
    lines = [[i, *row.values(), *([table.splits[i]] if table.splits else [])] for i, row in rows.items()]
    pd.DataFrame(lines, columns=columns, dtype=str).to_csv(path, index=False)
