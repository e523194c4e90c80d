"""Your own images: a folder with `images/`, `labels.csv` and, where there are masks, `masks/` and `classes.json`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from heml.datasets.adapters import Adapter
from heml.datasets.assemble import Adapted, Areas, Candidate, RawImage, assemble
from heml.datasets.listing import Listing, check_file, list_images, meant, some
from heml.datasets.words import check_spelling, cleaned, is_missing
from heml.errors import HemlError
from heml.images.shards import OWN, SPLITS
from heml.images.void import class_faults
from heml.params import FolderDataset


def _read_labels(path: Path, root: Path, label: str | None) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of labels.csv and its column names, checked; without blanks around names and values.

    `image_id`, `split` and the label's column are found whatever their case, and are called so.
    """
    if not path.exists() and not path.is_symlink():
        raise HemlError(f"{path}: no such file; it must list image_id, the label columns and, if you like, split")
    check_file(path, root)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise HemlError(f"{path}: not a UTF-8 CSV file ({error})") from None
    columns = _columns(path, lines[0] if lines else [], label)
    rows = []
    for number, values in enumerate(lines[1:], start=2):
        if not values:
            continue
        if len(values) != len(columns):
            raise HemlError(f"{path}: line {number}: has {len(values)} values, and the header {len(columns)}")
        row = dict(zip(columns, map(cleaned, values), strict=True))
        where = f"{path}: line {number}"
        if not row["image_id"]:
            raise HemlError(f"{where}: image_id is empty")
        if label is not None and is_missing(row[label]):
            said = f"is {row[label]!r}, a usual mark of a missing value" if row[label] else "is empty"
            raise HemlError(
                f"{where}: image {row['image_id']!r} has no {label!r}, which {said}; fill it in or remove the row"
            )
        if "split" in columns and row["split"] not in SPLITS:
            raise HemlError(f"{where}: split {row['split']!r} is none of {', '.join(SPLITS)}")
        rows.append(row)
    twice = [image_id for image_id, n in Counter(row["image_id"] for row in rows).items() if n > 1]
    if twice:
        raise HemlError(f"{path}: image_id {twice[0]!r} is given twice; ids must be unique")
    if not rows:
        raise HemlError(f"{path}: lists no images")
    if label is not None:
        check_spelling(label, ((f"{path}: image {row['image_id']!r}", row[label]) for row in rows))
    return rows, columns


def _columns(path: Path, header: list[str], label: str | None) -> list[str]:
    """The header's names, without blanks around them."""
    names = [cleaned(name) for name in header]
    own = {name.casefold(): name for name in ("image_id", "split", *([label] if label else []))}
    twice = [name for name, n in Counter(name.casefold() for name in names).items() if n > 1]
    if twice:
        raise HemlError(
            f"{path}: has the column {twice[0]!r} {sum(n.casefold() == twice[0] for n in names)} times; rename or"
            " remove one"
        )
    names = [own.get(name.casefold(), name) for name in names]
    for needed in ("image_id", label):
        if needed is not None and needed not in names:
            hint = "; is it separated by semicolons? It must be commas" if ";" in "".join(names) else ""
            raise HemlError(f"{path}: has no column {needed!r}; its columns are {', '.join(names)}{hint}")
    return names


def read_classes(path: Path, root: Path) -> dict[str, int]:
    if not path.exists() and not path.is_symlink():
        raise HemlError(f"{path}: no such file; masks/ needs it to name the class ids")
    check_file(path, root)
    try:
        content = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=_once)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise HemlError(f"{path}: not valid JSON ({error})") from None
    except KeyError as error:
        raise HemlError(f"{path}: names {error.args[0]!r} twice; give each class one id") from None
    classes = content.get("classes", content) if isinstance(content, dict) else None
    if (
        not isinstance(classes, dict)
        or not classes
        or any(isinstance(number, (str, dict, list)) for number in classes.values())
    ):
        raise HemlError(f'{path}: expected class name → id (0 to 254), for example {{"background": 0, "hair": 1}}')
    for fault in class_faults(classes):
        raise HemlError(f"{path}: {fault}")
    return {cleaned(name): number for name, number in classes.items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that is given twice is a KeyError, where the last would win."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise KeyError(key)
        found[key] = value
    return found


class _Folder:
    """The folder as a source of images."""

    name = "folder"

    def __init__(self, params: FolderDataset) -> None:
        root = params.path
        table = root / "labels.csv"
        self.root, self.where = root, str(table)
        images = list_images(root / "images", root)
        self.files = images.files
        listed = table.exists() or table.is_symlink() or not params.rule
        if listed:
            rows, columns = _read_labels(table, root, None if params.rule else params.label)
        else:
            rows, columns = [{"image_id": image_id} for image_id in self.files], ["image_id"]
        masks = (
            list_images(root / "masks", root)
            if (root / "masks").exists() or (root / "masks").is_symlink()
            else Listing({}, [])
        )
        self.masks = masks.files
        self.classes = read_classes(root / "classes.json", root) if (root / "masks").is_dir() else {}
        self.label_names: list[str] = []
        self.extra = [c for c in columns if c not in OWN]
        self.values = {row["image_id"]: {c: row[c] for c in self.extra} for row in rows}
        self.candidates = [
            Candidate(
                row["image_id"],
                (row["split"],) if "split" in columns else SPLITS,
                None if params.rule else row[params.label],
            )
            for row in sorted(rows, key=lambda row: row["image_id"])
        ]
        self.notes = list(self._notes(images, masks, listed))

    def _notes(self, images: Listing, masks: Listing, listed: bool) -> Iterator[str]:
        """What of the folder is not used."""
        for listing, folder in ((images, "images"), (masks, "masks")):
            if listing.others:
                yield f"{self.root / folder}: {some(listing.others)} left out: no image by its ending, or a sub-folder"
        if unlisted := listed and self.files.keys() - self.values.keys():
            yield f"{self.where}: does not list {some(unlisted)} of the images, which are left out"
        if alone := self.masks.keys() - self.files.keys():
            yield f"{self.root / 'masks'}: {some(alone)} left out: masks of no image"

    def read(self, chosen: Container[str]) -> Iterator[RawImage]:
        for image_id in (c.image_id for c in self.candidates if c.image_id in chosen):
            path = self.files.get(image_id)
            if path is None:
                fault = (
                    f"{self.root / 'images' / image_id}: no such image, but labels.csv lists"
                    f" it{meant(image_id, self.files)}"
                )
                yield RawImage(image_id, "", b"", None, fault=fault)
                continue
            mask = self.masks.get(image_id) if self.classes else None
            mask_bytes = mask.read_bytes() if mask else None
            extra = self.values[image_id]
            yield RawImage(
                image_id, path.name, path.read_bytes(), mask_bytes, extra, source=str(path), mask_source=str(mask)
            )


def folder(params: FolderDataset, areas: Areas | None = None) -> Adapted:
    """The folder data set. Each image and mask is decoded once to be sure that it can be; images are stored as they
    are, and masks too unless the decoded ids need another form (`heml.datasets.assemble`).

    Args:
        areas: the network that a rule with a `model` asks.

    Raises:
        HemlError: on anything that would make the data set ambiguous or unusable; see the tests for the list.
    """
    return assemble(_Folder(params), params, areas)


class FolderAdapter(Adapter[FolderDataset]):
    """A folder of images."""

    def open(self, areas: Areas | None = None) -> Adapted:
        return folder(self.params, areas)

    def licence(self) -> list[str]:
        for path in sorted(self.params.path.iterdir()):
            if path.is_file() and path.stem.upper() in ("LICENSE", "LICENCE", "TERMS"):
                return [f"{path}:", "", path.read_text("utf-8", errors="replace").strip()]
        return ["A folder of your own images; it holds no LICENSE or TERMS file."]

    def told(self, project: Path) -> tuple[str, list[str]]:
        there = (project / self.params.path).is_dir()
        return f"the folder {self.params.path}", [f"on disk: {'yes' if there else 'no'}"]


ADAPTER = FolderAdapter
