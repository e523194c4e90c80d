"""Parquet as it is kept here: pages with checksums, and one clear error where a file is not what was written."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heml.errors import HemlError, fault

Fields = Sequence[tuple[str, Any]]
"""Columns in order: name and type."""


def writer(path: str | Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer whose pages carry checksums."""
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


def write_table(path: str | Path, table: pa.Table) -> None:
    """Write a table as one file."""
    with writer(path, table.schema) as file:
        file.write_table(table)


class RowWriter:
    """Rows as one file, a row group of them in memory at a time; a context, at whose end the file is whole."""

    def __init__(self, path: str | Path, schema: pa.Schema, group: int) -> None:
        """
        Args:
            group: rows of a row group; the last may have fewer.
        """
        self._file, self._schema, self._group = writer(path, schema), schema, group
        self._waiting: list[Mapping[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """The next row, column → value."""
        self._waiting.append(row)
        if len(self._waiting) == self._group:
            self._flush()

    def describe(self, about: str) -> None:
        """Another description than the schema's: the metadata key `heml`, JSON."""
        self._file.add_key_value_metadata({"heml": about})

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
            self._waiting.clear()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._flush()


@dataclass(frozen=True)
class Stored:
    """A Parquet file of a known format. Every fault is a HemlError that names the file and the command that makes it
    again."""

    path: Path
    fields: Fields
    """Columns that must be there, with these types; others may follow."""
    again: str
    """The command, such as `dvc repro embed`."""
    needed: Sequence[str] = ("image_id", "split", "label")
    """Columns that have a value in every row, where they are read."""

    def fault(self, what: str) -> HemlError:
        """The error to raise."""
        return fault(self.path, what, self.again)

    @property
    def rows(self) -> int:
        """How many there are."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    @property
    def schema(self) -> pa.Schema:
        """Of the file, checked."""
        with self._open() as file:
            return file.schema_arrow

    @property
    def about(self) -> dict[str, Any]:
        """What the file says of itself: the metadata key `heml` as the writer closed it, JSON."""
        with self._open() as file:
            metadata = file.metadata.metadata or {}
        try:
            found = json.loads(metadata[b"heml"])
            if not isinstance(found, dict):
                raise ValueError("no object")
        except (KeyError, ValueError) as error:
            raise self.fault(f"its description is missing or damaged ({error})") from None
        return found

    def _open(self) -> pq.ParquetFile:
        if not self.path.is_file():
            raise HemlError(f"{self.path}: no such file; run `{self.again}` first")
        try:
            file = pq.ParquetFile(self.path, page_checksum_verification=True)
            schema = file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise self.fault(f"cannot be read ({str(error).splitlines()[0]})") from None
        for name, kind in self.fields:
            if name not in schema.names:
                raise self.fault(f"has no column {name!r}, only {', '.join(schema.names)}")
            if schema.field(name).type != kind:
                raise self.fault(f"column {name!r} is {schema.field(name).type}, not {kind}")
        return file

    def groups(
        self, columns: Sequence[str] | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[pa.Table]:
        """Rows `start` to `stop`, a row group in memory at a time."""
        first = 0
        with self._open() as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                low, high = max(start - first, 0), count if stop is None else min(stop - first, count)
                first += count
                if low < high:
                    try:
                        table = file.read_row_group(group, columns=None if columns is None else list(columns))
                    except (pa.ArrowException, OSError) as error:
                        raise self.fault(f"is damaged ({str(error).splitlines()[0]})") from None
                    for name in self.needed:
                        if name in table.column_names and table[name].null_count:
                            raise self.fault(f"has a row without {name!r}")
                    yield table.slice(low, high - low)

    def table(self, columns: Sequence[str] | None = None, start: int = 0, stop: int | None = None) -> pa.Table:
        """Rows `start` to `stop` as one table, with its metadata; pyarrow's own function of this name imports
        pandas."""
        schema = self.schema
        wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns], schema.metadata)
        parts = list(self.groups(columns, start, stop))
        return pa.concat_tables(parts) if parts else wanted.empty_table()

    def distinct(self, image_ids: Sequence[str]) -> None:
        """
        Raises:
            HemlError: no image, or one that is there twice.
        """
        if not image_ids:
            raise self.fault("holds no images")
        if len(set(image_ids)) != len(image_ids):
            raise self.fault("holds an image twice")

    def finite(self, name: str, values: np.ndarray[Any, Any]) -> None:
        """
        Raises:
            HemlError: a value that is no finite number.
        """
        if not np.isfinite(values).all():
            raise self.fault(f"column {name!r} holds values that are no finite numbers")


def checksum(path: Path) -> int:
    """CRC-32 of a file."""
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found = zlib.crc32(block, found)
    return found
