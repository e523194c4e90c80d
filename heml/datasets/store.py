"""`data/images/`: images, labels, splits and masks as Parquet shards that pandas and Hugging Face `datasets` open as they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from heml.atomic import new_folder
from heml.errors import HemlError

ROWS_PER_SHARD = 2048
ROWS_PER_GROUP = 128
"""Rows decoded at a time: memory does not grow with the set."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageRecord:
    """One image as it came: encoded bytes, not pixels."""

    image_id: str
    split: str
    label: int
    image: bytes
    image_name: str
    mask: bytes | None = None
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """What a data set says of itself; it travels in the Parquet metadata of every shard."""

    name: str
    label: str
    """The label column whose metric is learnt."""
    label_names: list[str]
    """Label value `i` is called `label_names[i]`."""
    classes: dict[str, int] = field(default_factory=dict)
    """Mask classes, name → id; empty where there are no masks."""
    skipped: list[dict[str, str]] = field(default_factory=list)
    """Images left out: `image_id` and `reason`."""
    evidence: dict[str, list[list[float]]] = field(default_factory=dict)
    """Per class, the joint probabilities [P(look, label=0), P(look, label=1)] of its looks, where they are known;
    the last look is "absent". See `heml.datasets.limits`."""


_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _schema(description: Description, extra: Sequence[str]) -> pa.Schema:
    fields: list[tuple[str, Any]] = [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("label", pa.int64()),
        ("image", _IMAGE),
        ("mask", _IMAGE),
        *((name, pa.string()) for name in extra),
    ]
    kinds = {"image_id": "string", "split": "string", "label": "int64"} | dict.fromkeys(extra, "string")
    features: dict[str, Any] = {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()}
    features |= {"image": {"_type": "Image"}, "mask": {"_type": "Image"}}
    ordered = {name: features[name] for name, _ in fields}
    return pa.schema(
        fields,
        metadata={
            "heml": json.dumps(asdict(description), sort_keys=True),
            "huggingface": json.dumps({"info": {"features": ordered}}),
        },
    )


def write_images(folder: str | Path, records: Iterable[ImageRecord], description: Description, extra: Sequence[str] = ()) -> int:
    """Write records, in the order given, as shards; returns how many.

    `description.skipped` may still grow while `records` is consumed: the last shard is written after the last record.

    Raises:
        HemlError: no records at all, or an image_id given twice.
    """
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    with new_folder(folder) as partial:
        tables: list[Path] = []

        def flush() -> None:
            path = partial / f"part-{len(tables):05d}.parquet"
            table = pa.Table.from_pylist(rows, schema=_schema(description, extra))
            pq.write_table(table, path, row_group_size=ROWS_PER_GROUP, compression="zstd")
            tables.append(path)
            rows.clear()

        for record in records:
            if record.image_id in seen:
                raise HemlError(f"image_id {record.image_id!r} is given twice; ids must be unique")
            seen.add(record.image_id)
            if len(rows) == ROWS_PER_SHARD:
                flush()
            rows.append(
                {
                    "image_id": record.image_id,
                    "split": record.split,
                    "label": record.label,
                    "image": {"bytes": record.image, "path": record.image_name},
                    "mask": None if record.mask is None else {"bytes": record.mask, "path": f"{record.image_id}.png"},
                    **record.extra,
                }
            )
        if not seen:
            raise HemlError("the data set has no usable image")
        flush()
    return len(seen)


def _shards(folder: str | Path) -> list[Path]:
    paths = sorted(Path(folder).glob("part-*.parquet"))
    if not paths:
        raise HemlError(f"{folder}: no image shards; run the download stage first (dvc repro download)")
    return paths


def read_description(folder: str | Path) -> Description:
    """The data set's description, from the last shard (the only one that knows of every skipped image)."""
    metadata = pq.read_schema(_shards(folder)[-1]).metadata or {}
    return Description(**json.loads(metadata[b"heml"]))


def count_images(folder: str | Path) -> int:
    """Number of images in all shards."""
    return sum(pq.read_metadata(path).num_rows for path in _shards(folder))


def read_rows(folder: str | Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows in stored order (sorted by image_id), a row group in memory at a time."""
    for path in _shards(folder):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_PER_GROUP, columns=list(columns)):
                yield from batch.to_pylist()
