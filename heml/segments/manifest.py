"""The segment manifest: which pixels of which image belong to a segment. One Parquet partition per segment.

Row: image_id string · split string · label int64 · present bool · area float32 (fraction of the canvas) · bbox 4×int16
(x0, y0, x1, y1; canvas pixels, the end exclusive) · confidence float32 (mean probability in the mask) · mask binary
(bit-packed over the canvas, see `masks`). Every image has a row, in stored order; an absent segment has
`present = false`, area 0 and no bbox, confidence or mask.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from heml.atomic import new_folder
from heml.errors import HemlError
from heml.images.canvas import lay_mask, placement
from heml.images.parquet import RowWriter, Stored
from heml.images.shards import count_images, read_rows
from heml.params import Canvas, Segment
from heml.progress import progress
from heml.row_groups import Each
from heml.run import Run
from heml.segments.labelmaps import LabelMap, read_classes, read_labelmaps
from heml.segments.masks import BIT_ORDER, pack_mask, unpack_mask
from heml.segments.names import unknown_names

ROWS_PER_GROUP = 1024

_FIELDS: list[tuple[str, Any]] = [
    ("image_id", pa.string()),
    ("split", pa.string()),
    ("label", pa.int64()),
    ("present", pa.bool_()),
    ("area", pa.float32()),
    ("bbox", pa.list_(pa.int16(), 4)),
    ("confidence", pa.float32()),
    ("mask", pa.binary()),
]


def cut_segment(labelmap: LabelMap, ids: list[int], segment: Segment, canvas: Canvas) -> dict[str, Any]:
    """One image's row of a segment (see the module), without who the image is.

    Args:
        ids: class ids that make up the segment.
    """
    there = np.isin(labelmap.labels, ids)
    mask = lay_mask(there, (labelmap.width, labelmap.height), canvas, segment.coverage)
    if segment.dilate and mask.any():
        grown = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(2 * segment.dilate + 1))
        x0, y0, x1, y1 = placement(labelmap.width, labelmap.height, canvas)
        mask = np.zeros_like(mask)
        mask[y0:y1, x0:x1] = np.asarray(grown)[y0:y1, x0:x1] > 0  # never beyond the image
    area = float(mask.mean())
    if area == 0 or area < segment.min_area:
        return {"present": False, "area": 0.0, "bbox": None, "confidence": None, "mask": None}
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    sure = 1.0 if labelmap.confidence is None else float(labelmap.confidence[there].mean()) / 255
    return {
        "present": True,
        "area": area,
        "bbox": [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1],
        "confidence": sure,
        "mask": pack_mask(mask),
    }


def write_manifest(name: str, segment: Segment, canvas: Canvas, run: Run, each: Each = map) -> float:
    """Write the partition of one segment; returns the share of images in which it is present.

    Args:
        each: how row groups are handed out.

    Raises:
        HemlError: a class the segmenter does not know, a segment present in no training image.
    """
    classes = read_classes(run.labelmaps)
    if unknown := unknown_names(segment.classes, classes):
        raise HemlError(
            f"segments.{name}.classes: unknown {', '.join(unknown)}; the segmenter has {', '.join(classes)}"
        )
    ids = [classes[c] for c in segment.classes]
    schema = pa.schema(
        _FIELDS,
        metadata={
            "heml": json.dumps(
                {
                    "segment": name,
                    "mask_shape": [canvas.height, canvas.width],
                    "bit_order": BIT_ORDER,
                    "definition": segment.model_dump(),
                    "canvas": canvas.model_dump(),
                },
                sort_keys=True,
            )
        },
    )
    total, present, in_train = count_images(run.images), 0, 0
    cut = partial(_cut_group, run.images, run.labelmaps, ids, segment, canvas)
    bar = progress(range(total), f"manifest {name}", total, "image")
    with (
        bar,
        new_folder(run.segment(name)) as target,
        RowWriter(target / "part-0.parquet", schema, ROWS_PER_GROUP) as file,
    ):
        for rows in each(cut, range(0, total, ROWS_PER_GROUP)):
            present += sum(row["present"] for row in rows)
            in_train += sum(row["present"] and row["split"] == "train" for row in rows)
            for row in rows:
                file.add(row)
            bar.update(len(rows))
        if not in_train:
            raise HemlError(
                f"segments.{name}: present in no training image (classes {', '.join(segment.classes)}, min_area "
                f"{segment.min_area:g}); lower min_area or coverage, or remove the segment"
            )
    return present / total


def _cut_group(
    images: Path, labelmaps: Path, ids: list[int], segment: Segment, canvas: Canvas, start: int
) -> list[dict[str, Any]]:
    """The rows of one row group, the one that begins at row `start`."""
    stop = start + ROWS_PER_GROUP
    people = read_rows(images, ["image_id", "split", "label"], start, stop)
    rows = []
    for person, labelmap in zip(people, read_labelmaps(labelmaps, start=start, stop=stop), strict=True):
        if person["image_id"] != labelmap.image_id:
            raise HemlError(
                f"{labelmaps}: holds {labelmap.image_id!r} where {person['image_id']!r} is due; run `dvc repro segment`"
            )
        rows.append(person | cut_segment(labelmap, ids, segment, canvas))
    return rows


@dataclass(frozen=True)
class Partition:
    """A segment's partition in memory: N images in stored order."""

    image_ids: list[str]
    splits: NDArray[np.str_]
    labels: NDArray[np.int64]
    present: NDArray[np.bool_]
    area: NDArray[np.float32]
    boxes: NDArray[np.int16]
    """(N, 4); zeros where absent."""
    packed: NDArray[np.uint8]
    """(N, ceil(H·W/8)) bit-packed masks; zeros where absent."""
    definition: Segment
    canvas: Canvas

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the canvas."""
        return self.canvas.height, self.canvas.width

    def mask(self, row: int) -> NDArray[np.bool_]:
        """(H, W); all false where absent."""
        return unpack_mask(self.packed[row].tobytes(), self.shape)


def read_manifest(segments: str | Path, name: str, start: int = 0, stop: int | None = None) -> Partition:
    """Read rows `start` to `stop` (all) of `data/segments/segment=<name>`.

    Raises:
        HemlError: no such partition, or one that is damaged or another's.
    """
    path = Path(segments) / f"segment={name}" / "part-0.parquet"
    stored = Stored(path, _FIELDS, f"dvc repro manifest@{name}", ("image_id", "split", "label", "present", "area"))
    about = stored.about
    try:
        definition, canvas = Segment(**about["definition"]), Canvas(**about["canvas"])
        own = about["segment"]
    except (KeyError, TypeError, ValueError) as error:
        raise stored.fault(f"its description is damaged ({error})") from None
    if own != name:
        raise stored.fault(f"holds the segment {own!r}, not {name!r}")
    table = stored.table(start=start, stop=stop)
    image_ids: list[str] = table["image_id"].to_pylist()
    stored.distinct(image_ids)
    height, width = canvas.height, canvas.width
    packed = np.zeros((table.num_rows, -(-height * width // 8)), np.uint8)
    boxes = np.zeros((table.num_rows, 4), np.int16)
    columns = (table[column].to_pylist() for column in ("present", "mask", "bbox"))
    for i, (there, mask, box) in enumerate(zip(*columns, strict=True)):
        if there != (mask is not None) or there != (box is not None) or (there and len(mask) != packed.shape[1]):
            raise stored.fault(f"what it says of {image_ids[i]!r} does not fit together")
        if there:
            packed[i] = np.frombuffer(mask, np.uint8)
            boxes[i] = box
    stored.finite("area", np.array(table["area"].to_pylist(), dtype=np.float32))
    return Partition(
        image_ids,
        np.array(table["split"].to_pylist()),
        np.array(table["label"].to_pylist(), dtype=np.int64),
        np.array(table["present"].to_pylist(), dtype=bool),
        np.array(table["area"].to_pylist(), dtype=np.float32),
        boxes,
        packed,
        definition,
        canvas,
    )
