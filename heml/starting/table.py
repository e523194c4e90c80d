"""A table of labels as it came: which column names the images, and which may be the label."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from heml.datasets.listing import SUFFIXES
from heml.datasets.words import cleaned, is_missing
from heml.errors import HemlError
from heml.images.shards import SPLITS

FEW = 20
"""Values of a column that is taken for a label unasked."""


@dataclass(frozen=True)
class Table:
    """Rows of images that are there."""

    path: Path
    columns: list[str]
    """All but those of the image and its split."""
    rows: dict[str, dict[str, str]]
    """image_id → column → value."""
    splits: dict[str, str]
    """image_id → split; empty where the table has none."""
    unknown: int
    """Rows whose image is not there."""
    as_it_is: bool
    """Whether the pipeline reads the file as it lies there."""

    def values(self, column: str) -> Counter[str]:
        """How many images have each value that is not missing."""
        return Counter(row[column] for row in self.rows.values() if not is_missing(row[column]))

    def labels(self) -> list[str]:
        """Columns that may be the label: a few values that each come twice, and hardly any missing; those of fewest
        values first."""
        counts = {column: self.values(column) for column in self.columns}
        fit = [
            c
            for c, n in counts.items()
            if 2 <= len(n) <= FEW and min(n.values()) >= 2 and n.total() >= 0.8 * len(self.rows)
        ]
        return sorted(fit, key=lambda column: len(counts[column]))


def read_table(path: Path, images: Mapping[str, Path]) -> Table:
    """A CSV file, separated by commas, semicolons or tabs, whose first line names the columns.

    Args:
        images: image_id → file; rows name them by id or by the file's name.

    Raises:
        HemlError: no such file, no table, or none of its columns names the images.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; name the table of labels, a CSV file") from None
    except (UnicodeDecodeError, OSError) as error:
        raise HemlError(f"{path}: not a UTF-8 CSV file ({error})") from None
    first = text.split("\n", 1)[0]
    mark = max(",;\t", key=first.count)
    lines = [[cleaned(value) for value in line] for line in csv.reader(text.splitlines(), delimiter=mark) if line]
    if len(lines) < 2:
        raise HemlError(f"{path}: lists no images; the first line names the columns, and each other line is an image")
    header, body = lines[0], lines[1:]
    ragged = next((k for k, line in enumerate(body) if len(line) != len(header)), None)
    if ragged is not None:
        raise HemlError(f"{path}: row {ragged + 1} has {len(body[ragged])} values, and the header {len(header)}")
    twice = [name for name, n in Counter(name.casefold() for name in header).items() if n > 1]
    if twice:
        raise HemlError(f"{path}: has the column {twice[0]!r} twice; rename or remove one")
    image = _of_images(path, header, body, images)
    split = next((k for k, name in enumerate(header) if name.casefold() == "split"), None)
    if split is not None and not all(line[split] in SPLITS for line in body):
        split = None
    columns = [k for k in range(len(header)) if k not in (image, split)]
    rows = {found: {header[k]: line[k] for k in columns} for line in body if (found := _id(line[image], images))}
    splits = {found: line[split] for line in body if (found := _id(line[image], images))} if split is not None else {}
    whole = len(rows) == len(body) and all(line[image] in images for line in body)
    return Table(
        path,
        [header[k] for k in columns],
        rows,
        splits,
        len(body) - len(rows),
        whole and mark == "," and header[image] == "image_id",
    )


def _of_images(path: Path, header: list[str], body: list[list[str]], images: Mapping[str, Path]) -> int:
    """The number of the column that names the images."""
    named = [sum(_id(line[k], images) is not None for line in body) for k in range(len(header))]
    own = next((k for k, name in enumerate(header) if name.casefold() == "image_id"), None)
    best = own if own is not None else max(range(len(header)), key=named.__getitem__)
    if not named[best]:
        some = next(iter(images), "none")
        raise HemlError(
            f"{path}: no column names the images ({', '.join(header)}); one must have their names, such as {some!r}"
        )
    return best


def _id(name: str, images: Collection[str]) -> str | None:
    """The image that a table's word is."""
    name = name.replace("\\", "/").rpartition("/")[2]
    if name in images:
        return name
    stem, dot, suffix = name.rpartition(".")
    return stem if stem in images and dot + suffix.lower() in SUFFIXES else None
