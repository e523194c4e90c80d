"""The reports read back: what is missing, damaged or another is one error that names the file and the command."""

import pytest

from heml.errors import HemlError
from heml.reading import read_csv, read_json


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file; run `dvc repro x` first"),
        (b"{", "is damaged"),
        (b"\xff", "is damaged"),
        (b"[1]", "is no JSON object"),
        (b'{"a": "1"}', "has no valid 'a'"),
        (b"{}", "has no valid 'a'"),
    ],
)
def test_json(tmp_path, content, said):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HemlError, match=rf"a\.json: {said}"):
        read_json(path, "dvc repro x", {"a": int})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "is damaged"),
        (b"b\n1\n", "has no column 'a'"),
        (b"a,b\n1,2,3\n1\n1,2,3,4\n", "is damaged"),
    ],
)
def test_csv(tmp_path, content, said):
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HemlError, match=rf"a\.csv: {said}"):
        read_csv(path, "dvc repro x", ["a"])


def test_words_are_not_taken_for_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n001,1\nNA,\n")
    found = read_csv(tmp_path / "a.csv", "dvc repro x", ["a", "b"], ["a"])
    assert found["a"].tolist() == ["001", "NA"]
    assert found["b"].isna().tolist() == [False, True]
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "a.json", "dvc repro x", {"a": int}) == {"a": 1}
