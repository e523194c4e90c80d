"""`data/labelmaps/`: for every image the class of every pixel and how sure the segmenter is of it, as PNG in
Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from heml.atomic import new_folder
from heml.images.decoding import encode_png
from heml.images.parquet import RowWriter, Stored
from heml.images.void import VOID, class_faults

ROWS_PER_GROUP = 256

_FIELDS: list[tuple[str, Any]] = [
    ("image_id", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("labels", pa.binary()),
    ("confidence", pa.binary()),
]


@dataclass(frozen=True)
class LabelMap:
    """One image's segmentation, over the whole image at the segmenter's resolution."""

    image_id: str
    width: int
    """Of the upright image, pixels."""
    height: int
    labels: NDArray[np.uint8]
    """(h, w) class ids."""
    confidence: NDArray[np.uint8] | None
    """(h, w) probability of the class in steps of 1/255; None for masks, which are taken at their word."""


def write_labelmaps(folder: str | Path, maps: Iterable[LabelMap], classes: dict[str, int]) -> None:
    """Write label maps in the order given; `classes` (name → id) goes to the Parquet metadata."""
    about = {"heml": json.dumps({"classes": dict(sorted(classes.items(), key=lambda item: item[1]))})}
    schema = pa.schema(_FIELDS, metadata=about)
    with new_folder(folder) as partial, RowWriter(partial / "part-0.parquet", schema, ROWS_PER_GROUP) as file:
        for m in maps:
            sure = None if m.confidence is None else encode_png(m.confidence)
            file.add(
                {
                    "image_id": m.image_id,
                    "width": m.width,
                    "height": m.height,
                    "labels": encode_png(m.labels),
                    "confidence": sure,
                }
            )


def _stored(folder: str | Path) -> Stored:
    return Stored(
        Path(folder) / "part-0.parquet", _FIELDS, "dvc repro segment", ("image_id", "width", "height", "labels")
    )


def read_classes(folder: str | Path) -> dict[str, int]:
    """Class name → id of the label maps.

    Raises:
        HemlError: missing or damaged.
    """
    stored = _stored(folder)
    classes = stored.about.get("classes")
    if not isinstance(classes, dict) or class_faults(classes):
        raise stored.fault("names no valid classes")
    return classes


def _decode(data: bytes, image_id: str, stored: Stored) -> NDArray[np.uint8]:
    try:
        found = np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]))
    except Exception as error:  # noqa: BLE001 (Pillow raises many kinds)
        raise stored.fault(f"the map of {image_id!r} is damaged ({error})") from None
    if found.ndim != 2 or found.dtype != np.uint8:
        raise stored.fault(f"the map of {image_id!r} is {found.dtype} of {found.ndim} dimensions, not uint8 of two")
    return found


def read_labelmaps(
    folder: str | Path, confidence: bool = True, start: int = 0, stop: int | None = None
) -> Iterator[LabelMap]:
    """Label maps `start` to `stop` (all) in stored order, a row group in memory at a time."""
    columns = ["image_id", "width", "height", "labels", *(["confidence"] if confidence else [])]
    stored = _stored(folder)
    known = [*read_classes(folder).values(), VOID]
    for row in (row for table in stored.groups(columns, start, stop) for row in table.to_pylist()):
        image_id, sure = row["image_id"], row.get("confidence")
        labels = _decode(row["labels"], image_id, stored)
        if not np.isin(labels, known).all():
            raise stored.fault(f"the map of {image_id!r} has classes that it does not name")
        certain = None if sure is None else _decode(sure, image_id, stored)
        if certain is not None and certain.shape != labels.shape:
            raise stored.fault(f"the map of {image_id!r} is of another size than its confidence")
        yield LabelMap(image_id, row["width"], row["height"], labels, certain)
