"""Your own images: a folder with `images/`, `labels.csv` and, where there are masks, `masks/` and `classes.json`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path

from heml.datasets.assemble import Adapted, Areas, Candidate, RawImage, assemble
from heml.errors import HemlError
from heml.images.store import OWN, SPLITS
from heml.params import FolderDataset

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def _read_labels(path: Path, label: str | None) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of labels.csv and its column names, checked."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), list(reader.fieldnames or [])
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; it must list image_id, the label columns and, if you like, split") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise HemlError(f"{path}: not a UTF-8 CSV file ({error})") from None
    for needed in ("image_id", label):
        if needed is not None and needed not in columns:
            raise HemlError(f"{path}: has no column {needed!r}; its columns are {', '.join(columns)}")
    for line, row in enumerate(rows, start=2):
        if None in row or any(value is None for value in row.values()):
            raise HemlError(f"{path}: line {line}: has another number of values than the header ({len(columns)})")
        if not row["image_id"]:
            raise HemlError(f"{path}: line {line}: image_id is empty")
        if label is not None and not row[label].strip():
            raise HemlError(f"{path}: line {line}: image {row['image_id']!r} has no {label!r}; fill it in or remove the row")
        if "split" in columns and row["split"] not in SPLITS:
            raise HemlError(f"{path}: line {line}: split {row['split']!r} is none of {', '.join(SPLITS)}")
    twice = [image_id for image_id, n in Counter(row["image_id"] for row in rows).items() if n > 1]
    if twice:
        raise HemlError(f"{path}: image_id {twice[0]!r} is given twice; ids must be unique")
    if not rows:
        raise HemlError(f"{path}: lists no images")
    return rows, columns


def _image_files(folder: Path) -> dict[str, Path]:
    """image_id → file. Files are found by listing, so an id with `../` in it leads nowhere."""
    if not folder.is_dir():
        raise HemlError(f"{folder}: no such folder; dataset.path must hold images/")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            if path.stem in found:
                raise HemlError(f"{path}: {found[path.stem].name} has the same image_id {path.stem!r}; rename one")
            found[path.stem] = path
    return found


def _read_classes(path: Path, masks: Path) -> dict[str, int]:
    if not masks.is_dir():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; masks/ needs it to name the class ids") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise HemlError(f"{path}: not valid JSON ({error})") from None
    classes = content.get("classes", content) if isinstance(content, dict) else None
    if not isinstance(classes, dict) or not all(isinstance(i, int) and 0 <= i <= 255 for i in classes.values()):
        raise HemlError(f'{path}: expected class name → id (0 to 255), for example {{"background": 0, "hair": 1}}')
    if len(set(classes.values())) != len(classes):
        raise HemlError(f"{path}: two classes share an id")
    return classes


class _Folder:
    """The folder as a source of images."""

    name = "folder"

    def __init__(self, params: FolderDataset) -> None:
        root = params.path
        self.root, self.where = root, str(root / "labels.csv")
        self.files = _image_files(root / "images")
        if params.rule and not (root / "labels.csv").is_file():
            rows, columns = [{"image_id": image_id} for image_id in self.files], ["image_id"]
        else:
            rows, columns = _read_labels(root / "labels.csv", None if params.rule else params.label)
        self.classes = _read_classes(root / "classes.json", root / "masks")
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

    def read(self, chosen: Container[str]) -> Iterator[RawImage]:
        for image_id in (c.image_id for c in self.candidates if c.image_id in chosen):
            path = self.files.get(image_id)
            if path is None:
                fault = f"{self.root / 'images' / image_id}: no such image, but labels.csv lists it"
                yield RawImage(image_id, "", b"", None, fault=fault)
                continue
            mask = self.root / "masks" / f"{image_id}.png"
            mask_bytes = mask.read_bytes() if self.classes and mask.is_file() else None
            extra = self.values[image_id]
            yield RawImage(image_id, path.name, path.read_bytes(), mask_bytes, extra, source=str(path), mask_source=str(mask))


def folder(params: FolderDataset, areas: Areas | None = None) -> Adapted:
    """The folder data set. Bytes are stored as they are; each image and mask is decoded once to be sure that it can be.

    Args:
        areas: the network that a rule with a `model` asks.

    Raises:
        HemlError: on anything that would make the data set ambiguous or unusable; see the tests for the list.
    """
    return assemble(_Folder(params), params, areas)
