"""`data/labelmaps/`: for every image the class of every pixel and how sure the segmenter is of it, as PNG in Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from heml.atomic import new_folder
from heml.errors import HemlError
from heml.images.decoding import encode_png
from heml.images.store import read_range

ROWS_PER_GROUP = 256


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
    schema = pa.schema(
        [
            ("image_id", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("labels", pa.binary()),
            ("confidence", pa.binary()),
        ],
        metadata={"heml": json.dumps({"classes": dict(sorted(classes.items(), key=lambda item: item[1]))})},
    )
    rows = []
    with new_folder(folder) as partial, pq.ParquetWriter(partial / "part-0.parquet", schema, compression="zstd") as writer:
        for m in maps:
            sure = None if m.confidence is None else encode_png(m.confidence)
            rows.append({"image_id": m.image_id, "width": m.width, "height": m.height, "labels": encode_png(m.labels), "confidence": sure})
            if len(rows) == ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _file(folder: str | Path) -> Path:
    path = Path(folder) / "part-0.parquet"
    if not path.is_file():
        raise HemlError(f"{folder}: no label maps; run `dvc repro segment` first")
    return path


def read_classes(folder: str | Path) -> dict[str, int]:
    """Class name → id of the label maps."""
    classes: dict[str, int] = json.loads(pq.read_schema(_file(folder)).metadata[b"heml"])["classes"]
    return classes


def _decode(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]))


def read_labelmaps(folder: str | Path, confidence: bool = True, start: int = 0, stop: int | None = None) -> Iterator[LabelMap]:
    """Label maps `start` to `stop` (all) in stored order, a row group in memory at a time."""
    columns = ["image_id", "width", "height", "labels", *(["confidence"] if confidence else [])]
    for row in read_range([_file(folder)], columns, start, stop):
        sure = row.get("confidence")
        yield LabelMap(row["image_id"], row["width"], row["height"], _decode(row["labels"]), None if sure is None else _decode(sure))
