"""Tables as people have them."""

from pathlib import Path

import pytest

from heml.errors import HemlError
from heml.starting.table import read_table

IMAGES = {f"img{k}": Path(f"img{k}.jpg") for k in range(8)}


def table(tmp_path, text: str, encoding: str = "utf-8"):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding)
    return read_table(path, IMAGES)


def rows(mark: str = ",", ending: str = "") -> str:
    return (
        "\n".join(mark.join((f"img{k}{ending}", "ab"[k % 2], str(20 + k), f"note {k}", "train")) for k in range(8))
        + "\n"
    )


def test_a_table_as_the_pipeline_reads_it(tmp_path):
    found = table(tmp_path, "image_id,kind,age,note,split\n" + rows())
    assert found.as_it_is
    assert found.columns == ["kind", "age", "note"]
    assert found.labels() == ["kind"], "an age and a note come once each"
    assert found.values("kind") == {"a": 4, "b": 4}
    assert found.splits["img3"] == "train"


@pytest.mark.parametrize(
    ("header", "mark", "ending"),
    [
        ("file;kind;age;note;fold", ";", ".jpg"),
        ("kind\tx\ty", "\t", ""),
        ("path,kind,age,note,split", ",", ".JPG"),
        ("Image_ID,k,a,n,s", ",", ""),
    ],
)
def test_a_table_that_must_be_rewritten(tmp_path, header, mark, ending):
    text = (
        rows(mark, ending)
        if "\t" not in mark
        else "".join(f"{'ab'[k % 2]}\tsome/folder/img{k}.png\t{k}\n" for k in range(8))
    )
    found = table(tmp_path, header + "\n" + text, "utf-8-sig")
    assert set(found.rows) == set(IMAGES)
    assert not found.as_it_is
    assert found.labels()[0] in ("kind", "k")
    assert found.values(found.labels()[0]) == {"a": 4, "b": 4}


def test_rows_of_no_image_are_counted(tmp_path):
    found = table(tmp_path, "image_id,kind\nimg0,a\nimg1,b\nghost,a\n")
    assert (len(found.rows), found.unknown, found.as_it_is) == (2, 1, False)


def test_a_column_with_gaps_or_single_values_is_no_label(tmp_path):
    text = "image_id,gaps,single,one,ok\n" + "".join(
        f"img{k},{'a' if k == 3 else 'NA'},{k // 7},x,{k % 3 % 2}\n" for k in range(8)
    )
    assert table(tmp_path, text).labels() == ["ok"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no images"),
        ("image_id,kind\n", "lists no images"),
        ("a,b\n1,2\n", r"no column names the images \(a, b\); .* such as 'img0'"),
        ("image_id,kind\nimg0\n", "row 1 has 1 values, and the header 2"),
        ("image_id,k,K\nimg0,1,2\n", "column 'k' twice"),
    ],
)
def test_what_is_no_table_of_these_images(tmp_path, text, message):
    with pytest.raises(HemlError, match=message):
        table(tmp_path, text)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(HemlError, match="no such file"):
        read_table(tmp_path / "none.csv", IMAGES)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HemlError, match="not a UTF-8 CSV file"):
        read_table(tmp_path / "bytes.csv", IMAGES)
