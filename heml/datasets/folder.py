"""Your own images: a folder with `images/`, `labels.csv` and, where there are masks, `masks/` and `classes.json`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from heml.datasets.images import BadImage, check_mask, decode_image, decode_mask
from heml.datasets.splits import check_labels, stratified_split
from heml.datasets.store import SPLITS, Description, ImageRecord
from heml.errors import HemlError
from heml.params import FolderDataset
from heml.progress import progress

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_OWN = {"image_id", "split", "label", "image", "mask"}


def _read_labels(path: Path, label: str) -> tuple[list[dict[str, str]], list[str]]:
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
        if needed not in columns:
            raise HemlError(f"{path}: has no column {needed!r}; its columns are {', '.join(columns)}")
    for line, row in enumerate(rows, start=2):
        if None in row or any(value is None for value in row.values()):
            raise HemlError(f"{path}: line {line}: has another number of values than the header ({len(columns)})")
        if not row["image_id"]:
            raise HemlError(f"{path}: line {line}: image_id is empty")
        if not row[label].strip():
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


def _label_names(values: set[str]) -> list[str]:
    """Distinct values in order: numbers by size, words by alphabet."""
    try:
        return sorted(values, key=lambda v: (float(v), v))
    except ValueError:
        return sorted(values)


def folder(params: FolderDataset) -> tuple[Iterator[ImageRecord], Description, list[str]]:
    """The folder data set: records in order of image_id (read lazily), description, names of the extra columns.

    Bytes are stored as they are; each image and mask is decoded once to be sure that it can be.

    Raises:
        HemlError: on anything that would make the data set ambiguous or unusable; see the tests for the list.
    """
    root = params.path
    rows, columns = _read_labels(root / "labels.csv", params.label)
    files = _image_files(root / "images")
    classes = _read_classes(root / "classes.json", root / "masks")
    rows.sort(key=lambda row: row["image_id"])
    names = _label_names({row[params.label] for row in rows})
    value = {name: i for i, name in enumerate(names)}
    labels = {row["image_id"]: value[row[params.label]] for row in rows}
    single = [names[v] for v, n in Counter(labels.values()).items() if n == 1]
    if single and len(names) > 1:
        raise HemlError(f"{root / 'labels.csv'}: class {single[0]!r} of {params.label!r} has one image; a metric needs at least two")
    if "split" in columns:
        splits = {row["image_id"]: row["split"] for row in rows}
    else:
        splits = stratified_split(labels, params.split.model_dump(), params.seed)
    check_labels(params.label, names, [(splits[i], labels[i]) for i in labels])

    extra = [c for c in columns if c not in _OWN]
    skipped: list[dict[str, str]] = []
    description = Description("folder", params.label, names, classes, skipped)

    def records() -> Iterator[ImageRecord]:
        kept: list[tuple[str, int]] = []
        for row in progress(rows, "images", len(rows), "image"):
            image_id = row["image_id"]
            try:
                if image_id not in files:
                    raise BadImage(f"{root / 'images' / image_id}: no such image, but labels.csv lists it")
                data, mask = _read_pair(files[image_id], root / "masks" / f"{image_id}.png", classes, params.max_megapixels)
            except BadImage as error:
                if params.on_bad_image == "error":
                    raise HemlError(f"{error}. Repair or remove it, or set dataset.on_bad_image: skip") from None
                skipped.append({"image_id": image_id, "reason": str(error)})
                continue
            kept.append((splits[image_id], labels[image_id]))
            values = {c: row[c] for c in extra}
            yield ImageRecord(image_id, splits[image_id], labels[image_id], data, files[image_id].name, mask, values)
        if skipped:
            check_labels(params.label, names, kept)

    return records(), description, extra


def _read_pair(image: Path, mask: Path, classes: dict[str, int], max_megapixels: float) -> tuple[bytes, bytes | None]:
    """Bytes of an image and of its mask (None where there is none), both proven to decode and to fit each other."""
    data = image.read_bytes()
    size = decode_image(data, str(image), max_megapixels).size
    if not classes or not mask.name.removesuffix(".png") or not mask.is_file():
        return data, None
    mask_data = mask.read_bytes()
    check_mask(decode_mask(mask_data, str(mask), max_megapixels), size, classes, str(mask))
    return data, mask_data
