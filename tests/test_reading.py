"""The reports read back: what is missing, damaged or another is one error that names the file and the command."""

import json

import pytest
from typing_extensions import TypedDict

from heml.errors import HemlError
from heml.reading import (
    BaselineReport,
    ComparisonRow,
    Findings,
    NodeReport,
    Numbers,
    SegmenterReport,
    check_known,
    read_csv,
    read_json,
    read_node_report,
)
from heml.run import Run


class Told(TypedDict):
    a: int


TRAINING = {
    "best_epoch": 1,
    "note": "",
    "history": [{"epoch": 0, "val_p1": None}],
    "peak_bytes": 1,
    "images_per_second": 1.5,
    "seconds": 2.0,
    "repeats": [{"seed": 0, "best_epoch": 1, "val_p1": 0.5}],
}
WHOLE = {
    NodeReport: TRAINING
    | {"node": "hair", "level": 0, "start": "scratch", "box": [0, 0, 8, 8], "present": {"train": 3}},
    BaselineReport: TRAINING | {"method": "avsl"},
    ComparisonRow: {"name": "tree", "method": "heml", "p@1": 0.5, "queries": 4, "eer": None},
    SegmenterReport: {
        "source": "masks",
        "iou": {"hair": None},
        "miou": 0.5,
        "notes": ["none"],
        "history": [{"loss": 1.0}],
    },
    Findings: {
        "findings": [{"part": "a", "kind": "colour", "sentence": "s", "told": {"red": "x"}, "typical": {"red": ["i"]}}],
        "caveats": ["c"],
        "chance": 0.5,
    },
    Numbers: {"a": 1, "b": 0.5, "c": None},
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file; run `dvc repro x` first"),
        (b"{", "is damaged"),
        (b"\xff", "is damaged"),
        (b"[1]", "is no JSON object"),
        (b'{"a": "1"}', "has no valid 'a'"),
        (b"{}", "has no valid 'a'"),
        (b'{"a": true}', "has no valid 'a'"),
        (b'{"a": 1, "b": NaN}', "is damaged .NaN is no number"),
    ],
)
def test_json(tmp_path, content, said):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HemlError, match=rf"a\.json: {said}"):
        read_json(path, "dvc repro x", Told)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "is damaged"),
        (b"b\n1\n", "has no column 'a'"),
        (b"a,b\n1,2,3\n1\n1,2,3,4\n", "is damaged"),
        (b"a,b\n1,2\n1\n", "is damaged .a row is not complete"),
        (b"a,b\n1,2,3\n1,2,3\n", "is damaged .a row is not complete"),
        (b"a,b\n1,2\n1,2", "is damaged .a row is not complete"),
        (b"a\n1\n0.\xff2\n", "is damaged"),
        (b"a\n1\n0.p2\n", "column 'a' holds something else than finite numbers"),
        (b"a\n1\ninf\n", "column 'a' holds something else than finite numbers"),
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
    assert read_json(tmp_path / "a.json", "dvc repro x", Told) == {"a": 1}


def test_truth_values_numbers_and_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,c\nTrue,True,\nFalse,,\n")
    assert read_csv(tmp_path / "a.csv", "dvc repro x", ["a", "b", "c"])["a"].tolist() == [True, False]
    (tmp_path / "b.csv").write_text("a,b\n")
    assert not len(read_csv(tmp_path / "b.csv", "dvc repro x", ["a", "b"], ["a"]))


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: getattr(kind, "__name__", "Numbers"))
def test_every_field_of_a_kind_is_looked_at(tmp_path, kind):
    """The whole passes, with keys of its own; without one field, or with another type in it, it does not."""
    path, whole = tmp_path / "a.json", WHOLE[kind]
    path.write_text(json.dumps(whole))
    assert read_json(path, "dvc repro x", kind) == whole
    for key, value in whole.items():
        for other in ("a word" if not isinstance(value, str) else 3, [[]]):
            path.write_text(json.dumps(whole | {key: other}))
            with pytest.raises(HemlError, match=f"has no valid '{key}"):
                read_json(path, "dvc repro x", kind)


def test_a_node_report_is_the_node_s(tmp_path):
    run = Run(tmp_path)
    for node in ("hair", "eyes"):
        run.report(node).parent.mkdir(parents=True, exist_ok=True)
        run.report(node).write_text(json.dumps(WHOLE[NodeReport]))
    assert read_node_report(run, "hair") == WHOLE[NodeReport]
    with pytest.raises(HemlError, match=r"eyes\.json: is the report of 'hair'; remove it and run `dvc repro`"):
        read_node_report(run, "eyes")


def test_what_a_file_names_is_there(tmp_path):
    check_known(tmp_path / "a.csv", "dvc repro x", ["hair"], {"hair"}, "node")
    with pytest.raises(
        HemlError, match=r"a\.csv: names node 'hat', and there is none; remove it and run `dvc repro x`"
    ):
        check_known(tmp_path / "a.csv", "dvc repro x", ["hair", "hat"], {"hair"}, "node")
