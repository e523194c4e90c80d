"""Rows written one at a time are the table written at once, in row groups of the size asked for."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heml.images.parquet import RowWriter, Stored, write_table

SCHEMA = pa.schema([("image_id", pa.string()), ("label", pa.int64())], metadata={"heml": '{"a": 1}'})


def rows(n):
    return [{"image_id": f"i{k}", "label": k} for k in range(n)]


def write(path, n):
    with RowWriter(path, SCHEMA, 4) as file:
        for row in rows(n):
            file.add(row)


@pytest.mark.parametrize("n", [0, 1, 4, 10])
def test_rows_come_back_in_groups_of_four(tmp_path, n):
    write(tmp_path / "a.parquet", n)
    file = pq.ParquetFile(tmp_path / "a.parquet", page_checksum_verification=True)
    sizes = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    assert sizes == [4] * (n // 4) + [n % 4] * (n % 4 > 0)
    assert file.read().to_pylist() == rows(n)
    assert json.loads(file.metadata.metadata[b"heml"]) == {"a": 1}


def test_one_group_has_the_bytes_of_the_table(tmp_path):
    write(tmp_path / "a.parquet", 3)
    write_table(tmp_path / "b.parquet", pa.Table.from_pylist(rows(3), schema=SCHEMA))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_last_description_counts(tmp_path):
    with RowWriter(tmp_path / "a.parquet", SCHEMA, 4) as file:
        file.add(rows(1)[0])
        file.describe('{"a": 2}')
    assert Stored(tmp_path / "a.parquet", [], "dvc repro").about == {"a": 2}


def test_an_error_passes_and_writes_no_more(tmp_path):
    with pytest.raises(KeyError), RowWriter(tmp_path / "a.parquet", SCHEMA, 4) as file:
        for row in rows(6):
            file.add(row)
        raise KeyError
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.num_rows == 4
