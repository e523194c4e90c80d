"""A data set on the Hugging Face hub: its Parquet files are fetched, and read a row group at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heml.datasets.adapters import Adapter
from heml.datasets.assemble import Adapted, Areas, Candidate, RawImage, assemble, rows_needed
from heml.datasets.cached import among, cached, in_words
from heml.datasets.card import Card, load_card
from heml.datasets.words import check_spelling, cleaned, is_missing
from heml.errors import HemlError
from heml.fetch import Repo, fetch, known_files, list_files
from heml.images.shards import OWN
from heml.params import HubDataset
from heml.terms import hub_terms

T = TypeVar("T")

ROWS = 64
"""Rows of images in memory at a time."""


@dataclass(frozen=True)
class _Shard:
    """A fetched file."""

    number: int
    """Among all the files that the card names, so that ids do not depend on how many were fetched."""
    name: str
    file: Path
    splits: tuple[str, ...]


def hub(params: HubDataset, areas: Areas | None = None) -> Adapted:
    """The data set behind `params.path`'s card, at the pinned commit.

    Image ids are the card's name with the numbers of file and row.

    Args:
        areas: the network that a rule with a `model` asks.

    Raises:
        HemlError: not to be had, or not what the card says: see the tests for the list.
    """
    return assemble(_Hub(params, load_card(params.path)), params, areas)


class _Hub:
    """The fetched files as a source of images."""

    def __init__(self, params: HubDataset, card: Card) -> None:
        self.name, self.classes, self.card = card.name, card.classes, card
        self.extra = [name for name in card.labels if name not in OWN]
        repo = Repo(params.repo, params.revision, "dataset")
        self.where = str(repo)
        if not params.rule and params.label not in card.labels:
            known = (
                f"has {', '.join(card.labels)}"
                if card.labels
                else "has no label columns: read the label off the images with dataset.rule"
            )
            raise HemlError(f"dataset.label: {params.label!r} is no label of {params.path}, which {known}")
        self.shards, total = _fetch_shards(repo, card, params)
        self.columns = [card.image, *([card.mask] if card.mask else []), *self.extra]
        self.width = len(str(total - 1))
        self.label_names: list[str] = []
        self.notes: list[str] = []
        self.candidates: list[Candidate] = []
        kinds: dict[str, str] = {}
        for shard in self.shards:
            _check_columns(shard, list(dict.fromkeys([*self.columns, *card.labels])), params.path)
            with pq.ParquetFile(shard.file) as file:
                rows, schema = file.metadata.num_rows, file.schema_arrow
                words = None if params.rule else _Words(schema, params.label, shard.name)
                kinds |= {_kind(schema.field(params.label).type): shard.name} if words else {}
                values = _read(shard, partial(file.read, [params.label]))[0].to_pylist() if words else []
                labels = [words(value, row) for row, value in enumerate(values)] if words else [None] * rows
            self.candidates += [Candidate(self._id(shard, row), shard.splits, labels[row]) for row in range(rows)]
            if words and words.boolean:
                self.label_names = [f"not {params.label}", params.label]
        if len(kinds) > 1:
            told = " and ".join(f"{kind} in {name}" for kind, name in kinds.items())
            raise HemlError(
                f"{params.label!r}: is {told}; one value would be two. Pin another commit, or name other files in"
                f" {params.path}"
            )
        if not params.rule:
            check_spelling(params.label, ((c.image_id, c.label or "") for c in self.candidates))

    def _id(self, shard: _Shard, row: int) -> str:
        return f"{self.name}_{shard.number:0{self.width}d}_{row:06d}"

    def read(self, chosen: Container[str]) -> Iterator[RawImage]:
        for shard in self.shards:
            with pq.ParquetFile(shard.file) as file:
                start = 0
                for group in range(file.num_row_groups):
                    count = file.metadata.row_group(group).num_rows
                    wanted = {row for row in range(start, start + count) if self._id(shard, row) in chosen}
                    if wanted:
                        yield from self._rows(file, shard, group, start, wanted)
                    start += count

    def _rows(self, file: pq.ParquetFile, shard: _Shard, group: int, row: int, wanted: set[int]) -> Iterator[RawImage]:
        words = {name: _Words(file.schema_arrow, name, shard.name) for name in self.extra}
        batches = file.iter_batches(ROWS, row_groups=[group], columns=self.columns)
        while (batch := _read(shard, partial(next, batches, None))) is not None:
            columns = {name: batch.column(name) for name in self.columns}
            for k in range(batch.num_rows):
                if row in wanted:
                    source, image_id = f"{shard.name}, row {row}", self._id(shard, row)
                    image, name = _content(columns[self.card.image][k].as_py())
                    mask = _content(columns[self.card.mask][k].as_py())[0] if self.card.mask else None
                    extra = {label: word(columns[label][k].as_py(), row) for label, word in words.items()}
                    fault = "" if image else f"{source}: has no embedded image"
                    yield RawImage(
                        image_id,
                        name or image_id,
                        image or b"",
                        mask,
                        extra,
                        fault,
                        source,
                        f"{source}, {self.card.mask}",
                    )
                row += 1


def _read(shard: _Shard, read: Callable[[], T]) -> T:
    """What `read` returns; a file whose content is damaged is named."""
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        raise HemlError(f"{shard.name}: cannot be read ({str(error).splitlines()[0]}); pin another commit") from None


def _content(cell: Any) -> tuple[bytes | None, str]:
    """The bytes and file name of an image cell."""
    if isinstance(cell, dict):
        return cell.get("bytes"), Path(cell.get("path") or "").name
    return cell, ""


def _fetch_shards(repo: Repo, card: Card, params: HubDataset) -> tuple[list[_Shard], int]:
    """The files that are needed, in order, and how many the card names in all."""
    names = sorted(list_files(repo))
    shards: list[_Shard] = []
    taken: dict[str, str] = {}
    first = 0
    for number, files in enumerate(card.files):
        matching = [name for name in names if fnmatchcase(name, files.path)]
        if not matching:
            there = ", ".join([name for name in names if name.endswith(".parquet")][:6]) or "none"
            raise HemlError(f"{repo}: no file matches {files.path!r} of {params.path}; its Parquet files: {there}")
        if twice := next((name for name in matching if name in taken), None):
            raise HemlError(
                f"{params.path}: {twice} matches both {taken[twice]!r} and {files.path!r}; its images would be in two"
                " splits"
            )
        taken |= dict.fromkeys(matching, files.path)
        needed = rows_needed(files.splits, params)
        if needed is None:
            found = dict(zip(matching, fetch(repo, matching), strict=True))
        else:
            found = _enough(repo, matching, needed, (params.seed, number))
        shards += [
            _Shard(first + k, name, found[name], tuple(files.splits))
            for k, name in enumerate(matching)
            if name in found
        ]
        first += len(matching)
    return shards, first


def _enough(repo: Repo, names: Sequence[str], rows: int, seed: tuple[int, int]) -> dict[str, Path]:
    """Whole files, in an order by seed, until they hold so many rows: a subset comes from few files rather than a row
    from each."""
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    found: dict[str, Path] = {}
    have = 0
    while have < rows and len(found) < len(order):
        each = have / len(found) if found else rows
        more = order[len(found) : len(found) + max(1, math.ceil((rows - have) / max(each, 1)))]
        for name, file in zip(more, fetch(repo, more), strict=True):
            found[name] = file
            have += _metadata(name, file).num_rows
    return found


def _metadata(name: str, file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise HemlError(f"{name}: not a Parquet file ({error})") from None


def _check_columns(shard: _Shard, needed: Sequence[str], card: Path) -> None:
    there = _metadata(shard.name, shard.file).schema.to_arrow_schema().names
    missing = [name for name in needed if name not in there]
    if missing:
        raise HemlError(
            f"{shard.name}: has no column {', '.join(map(repr, missing))}, which {card} names; its columns are"
            f" {', '.join(there)}. Correct the card, or pin the commit it was written for"
        )


class _Words:
    """A label column's values as words: class names where the file has them, `not X` and `X` for a yes-or-no
    attribute."""

    def __init__(self, schema: pa.Schema, name: str, file: str) -> None:
        kind = schema.field(name).type
        if _kind(kind) == "none":
            raise HemlError(
                f"{file}: column {name!r} is {kind}; a label is text, a whole number, a number or yes and no"
            )
        self.name, self.file = name, file
        self.classes = _class_names(schema, name) if pa.types.is_integer(kind) else None
        self.boolean = pa.types.is_boolean(kind)
        self.yes, self.no = name, f"not {name}"

    def __call__(self, value: Any, row: int) -> str:
        """
        Raises:
            HemlError: a value that is missing or has no name.
        """
        where = f"{self.file}, row {row}"
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            raise HemlError(
                f"{where}: has no {self.name!r}; take the column off the card's labels or pin another commit"
            )
        if self.classes is not None:
            if not 0 <= value < len(self.classes):
                known = f"the file names {len(self.classes)} classes, 0 to {len(self.classes) - 1}"
                raise HemlError(f"{where}: {self.name} is {value}, out of range: {known}")
            return str(self.classes[value])
        if self.boolean:
            return self.yes if value else self.no
        word = cleaned(f"{value:.15g}" if isinstance(value, float) else str(value))  # 1.0 and 1 are one value
        if is_missing(word):
            raise HemlError(
                f"{where}: {self.name} is {value!r}, a usual mark of a missing value; pin another commit, or read"
                " another column"
            )
        return word


def _kind(kind: pa.DataType) -> str:
    """What a label column holds, for this purpose; `none` for what cannot be a label."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    if pa.types.is_boolean(kind):
        return "yes and no"
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "none"


def _class_names(schema: pa.Schema, name: str) -> list[str] | None:
    """What `datasets` wrote of a ClassLabel column."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][name]
        return list(feature["names"]) if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None


class HubAdapter(Adapter[HubDataset]):
    """A card, and the repository that it describes."""

    def open(self, areas: Areas | None = None) -> Adapted:
        return hub(self.params, areas)

    def licence(self) -> list[str]:
        card = load_card(self.params.path)
        return [card.title, card.licence, card.cite, "", *hub_terms(self._repo)]

    def told(self, project: Path) -> tuple[str, list[str]]:
        card, repo = load_card(project / self.params.path), self._repo
        patterns = [files.path for files in card.files]
        limits = ", ".join(f"{n:,} {split}" for split, n in self.params.limit.model_dump().items() if n is not None)
        partly = any(rows_needed(files.splits, self.params) is not None for files in card.files)
        lines = [
            f"data set: {repo.id}, commit {repo.revision}",
            f"images:   {f'{card.images:,}' if card.images else 'not stated'}{f'; used: {limits}' if limits else ''}",
            f"size:     {_size(repo, card, patterns)}",
            f"licence:  {card.licence}",
            f"on disk:  {cached(repo, patterns)}{'; a subset needs a part of it' if partly else ''}",
        ]
        return card.title, lines

    def named_classes(self, project: Path) -> list[str]:
        """Those of the rule, then those of the card."""
        rule = self.params.rule
        return [*(rule.classes if rule else []), *load_card(project / self.params.path).classes]

    @property
    def _repo(self) -> Repo:
        return Repo(self.params.repo, self.params.revision, "dataset")


def _size(repo: Repo, card: Card, patterns: Sequence[str]) -> str:
    """Of all files that the card names, as the repository lists them, or as the card says before it was ever asked."""
    files = known_files(repo)
    if files is None:
        return f"about {card.gigabytes:g} GB" if card.gigabytes else "not known before the first download"
    return in_words(sum(among(files, patterns).values()))


ADAPTER = HubAdapter
