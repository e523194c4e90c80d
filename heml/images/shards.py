"""`data/images/`: images, labels, splits and masks as Parquet shards that pandas and Hugging Face `datasets` open as
they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from heml.atomic import new_folder
from heml.errors import HemlError
from heml.images.parquet import RowWriter, Stored

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
    """Per class, the number of the look that each label always has, −1 for absent, where labels are identities; classes
    that vary freely are left out."""


_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_FIELDS: list[tuple[str, Any]] = [
    ("image_id", pa.string()),
    ("split", pa.string()),
    ("label", pa.int64()),
    ("image", _IMAGE),
    ("mask", _IMAGE),
]


def _schema(description: Description, extra: Sequence[str]) -> pa.Schema:
    fields = [*_FIELDS, *((name, pa.string()) for name in extra)]
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


def write_images(
    folder: str | Path, records: Iterable[ImageRecord], description: Description, extra: Sequence[str] = ()
) -> int:
    """Write records, in the order given, as shards; returns how many.

    `description.skipped` may still grow while `records` is consumed: the last shard's description is written after the
    last record. A row group of images is in memory at a time, so memory does not grow with the set.

    Raises:
        HemlError: no records at all, or an image_id given twice.
    """
    schema, known = _schema(description, extra), _unique(records)
    shards, record = 0, next(known, None)
    if record is None:
        raise HemlError("the data set has no usable image")
    rows = 0
    with new_folder(folder) as partial:
        while record is not None:
            with RowWriter(partial / f"part-{shards:05d}.parquet", schema, ROWS_PER_GROUP) as shard:
                for one in chain([record], islice(known, ROWS_PER_SHARD - 1)):
                    shard.add(_row(one))
                    rows += 1
                shards, record = shards + 1, next(known, None)
                if record is None:  # only now are all skipped images known
                    shard.describe(_as_json(description, shards))
    return rows


def _unique(records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
    """The records, each image_id once."""
    seen: set[str] = set()
    for record in records:
        if record.image_id in seen:
            raise HemlError(f"image_id {record.image_id!r} is given twice; ids must be unique")
        seen.add(record.image_id)
        yield record


def _row(record: ImageRecord) -> dict[str, Any]:
    return {
        "image_id": record.image_id,
        "split": record.split,
        "label": record.label,
        "image": {"bytes": record.image, "path": record.image_name},
        "mask": None if record.mask is None else {"bytes": record.mask, "path": f"{record.image_id}.png"},
        **record.extra,
    }


def _as_json(description: Description, shards: int | None = None) -> str:
    content = asdict(description) | ({"shards": shards} if shards else {})
    for name in ("looks", "notes"):
        if not content[name]:
            del content[name]  # data sets without keep the bytes they had
    return json.dumps(content, sort_keys=True)


def _shards(folder: str | Path) -> list[Stored]:
    paths = sorted(Path(folder).glob("part-*.parquet"))
    if not paths:
        raise HemlError(f"{folder}: no image shards; run the download stage first (dvc repro download)")
    shards = [Stored(path, _FIELDS, "dvc repro download") for path in paths]
    if [path.name for path in paths] != [f"part-{k:05d}.parquet" for k in range(len(paths))]:
        raise shards[-1].fault("a shard before it is missing")
    for shard in shards[:-1]:
        if shard.rows != ROWS_PER_SHARD:
            raise shard.fault(f"holds {shard.rows} images, not {ROWS_PER_SHARD}")
    return shards


def read_description(folder: str | Path) -> Description:
    """The data set's description, from the last shard (the only one that knows of every skipped image).

    Raises:
        HemlError: missing or damaged.
    """
    shards = _shards(folder)
    found = shards[-1].about
    if found.pop("shards", None) != len(shards):
        raise shards[-1].fault("is not the last of the shards that were written")
    try:
        return Description(**found)
    except TypeError as error:
        raise shards[-1].fault(f"its description is of another version ({error})") from None


def extra_columns(folder: str | Path) -> list[str]:
    """The data set's own columns, beside those that every store has."""
    return [name for name in _shards(folder)[0].schema.names if name not in OWN]


def count_images(folder: str | Path) -> int:
    """Number of images in all shards."""
    return sum(shard.rows for shard in _shards(folder))


def count_labels(folder: str | Path) -> Counter[tuple[str, int]]:
    """Number of images by (split, label)."""
    return Counter((row["split"], row["label"]) for row in read_rows(folder, ["split", "label"]))


def read_rows(
    folder: str | Path, columns: Sequence[str], start: int = 0, stop: int | None = None
) -> Iterator[dict[str, Any]]:
    """Rows `start` to `stop` (all) in stored order (sorted by image_id), a row group in memory at a time.

    Raises:
        HemlError: a shard that is missing or damaged.
    """
    first = 0
    for shard in _shards(folder):
        count = shard.rows
        low, high = max(start - first, 0), count if stop is None else min(stop - first, count)
        for table in shard.groups(columns, low, high) if low < high else ():
            yield from table.to_pylist()
        first += count
