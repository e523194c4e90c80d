"""`data/images/`: images, labels, splits and masks as Parquet shards that pandas and Hugging Face `datasets` open as they are."""

from __future__ import annotations

import json
from collections import Counter
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

OWN = ("image_id", "split", "label", "image", "mask")
"""Columns that are the store's; a data set's own of these names are not kept beside them."""


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
    notes: list[str] = field(default_factory=list)
    """Where the splits come from, and what of the source is not used, in sentences."""
    evidence: dict[str, list[list[float]]] = field(default_factory=dict)
    """Per class, the joint probabilities [P(look, label=0), P(look, label=1)] of its looks, where they are known;
    the last look is "absent". See `heml.evaluation.limits`."""
    looks: dict[str, list[int]] = field(default_factory=dict)
    """Per class, the number of the look that each label always has, −1 for absent, where labels are identities; classes that vary freely
    are left out."""


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
            "heml": _as_json(description),
            "huggingface": json.dumps({"info": {"features": ordered}}),
        },
    )


def write_images(folder: str | Path, records: Iterable[ImageRecord], description: Description, extra: Sequence[str] = ()) -> int:
    """Write records, in the order given, as shards; returns how many.

    `description.skipped` may still grow while `records` is consumed: the last shard's description is written after the last
    record. A row group of images is in memory at a time, so memory does not grow with the set.

    Raises:
        HemlError: no records at all, or an image_id given twice.
    """
    schema = _schema(description, extra)
    seen: set[str] = set()
    with new_folder(folder) as partial:
        shard = _Shard(partial, 0, schema)
        try:
            for record in records:
                if record.image_id in seen:
                    raise HemlError(f"image_id {record.image_id!r} is given twice; ids must be unique")
                seen.add(record.image_id)
                if shard.rows == ROWS_PER_SHARD:
                    shard.close()
                    shard = _Shard(partial, shard.number + 1, schema)
                shard.add(record)
            if not seen:
                raise HemlError("the data set has no usable image")
            shard.close(description)
        finally:
            shard.writer.close()
    return len(seen)


class _Shard:
    """One Parquet file, a row group of images in memory at a time."""

    def __init__(self, folder: Path, number: int, schema: pa.Schema) -> None:
        self.number, self.rows, self.schema = number, 0, schema
        self.writer = pq.ParquetWriter(folder / f"part-{number:05d}.parquet", schema, compression="zstd")
        self.waiting: list[dict[str, Any]] = []

    def add(self, record: ImageRecord) -> None:
        self.waiting.append(
            {
                "image_id": record.image_id,
                "split": record.split,
                "label": record.label,
                "image": {"bytes": record.image, "path": record.image_name},
                "mask": None if record.mask is None else {"bytes": record.mask, "path": f"{record.image_id}.png"},
                **record.extra,
            }
        )
        self.rows += 1
        if len(self.waiting) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self.waiting:
            self.writer.write_table(pa.Table.from_pylist(self.waiting, schema=self.schema))
            self.waiting.clear()

    def close(self, description: Description | None = None) -> None:
        """Write what is waiting; the last shard takes the final description, which knows of every skipped image."""
        self._flush()
        if description is not None:
            self.writer.add_key_value_metadata({"heml": _as_json(description)})
        self.writer.close()


def _as_json(description: Description) -> str:
    content = asdict(description)
    for name in ("looks", "notes"):
        if not content[name]:
            del content[name]  # data sets without keep the bytes they had
    return json.dumps(content, sort_keys=True)


def _shards(folder: str | Path) -> list[Path]:
    paths = sorted(Path(folder).glob("part-*.parquet"))
    if not paths:
        raise HemlError(f"{folder}: no image shards; run the download stage first (dvc repro download)")
    return paths


def read_description(folder: str | Path) -> Description:
    """The data set's description, from the last shard (the only one that knows of every skipped image)."""
    metadata = pq.read_metadata(_shards(folder)[-1]).metadata  # of the file: the schema's own is from before the last record
    return Description(**json.loads(metadata[b"heml"]))


def extra_columns(folder: str | Path) -> list[str]:
    """The data set's own columns, beside those that every store has."""
    return [name for name in pq.read_schema(_shards(folder)[0]).names if name not in OWN]


def count_images(folder: str | Path) -> int:
    """Number of images in all shards."""
    return sum(pq.read_metadata(path).num_rows for path in _shards(folder))


def count_labels(folder: str | Path) -> Counter[tuple[str, int]]:
    """Number of images by (split, label)."""
    return Counter((row["split"], row["label"]) for row in read_rows(folder, ["split", "label"]))


def read_rows(folder: str | Path, columns: Sequence[str], start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
    """Rows `start` to `stop` (all) in stored order (sorted by image_id), a row group in memory at a time."""
    return read_range(_shards(folder), columns, start, stop)


def read_range(paths: Iterable[Path], columns: Sequence[str], start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
    """Rows `start` to `stop` of Parquet files that lie one after another, a row group in memory at a time."""
    for table in _range(paths, columns, start, stop):
        yield from table.to_pylist()


def read_table(path: Path, columns: Sequence[str] | None = None, start: int = 0, stop: int | None = None) -> pa.Table:
    """Rows `start` to `stop` of one Parquet file, with its metadata; pyarrow's own function of this name imports pandas."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns], schema.metadata)
    parts = list(_range([path], columns, start, stop))
    return pa.concat_tables(parts) if parts else wanted.empty_table()


def _range(paths: Iterable[Path], columns: Sequence[str] | None, start: int, stop: int | None) -> Iterator[pa.Table]:
    first = 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                low, high = max(start - first, 0), count if stop is None else min(stop - first, count)
                if low < high:
                    yield file.read_row_group(group, columns=None if columns is None else list(columns)).slice(low, high - low)
                first += count
