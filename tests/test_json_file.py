"""JSON as it is written: what it cannot hold is null, and all else is as the standard library writes it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from heml.json_file import plain, write_json


def test_what_json_cannot_hold_is_null_and_numbers_of_arrays_are_numbers(tmp_path):
    found = {
        "nan": math.nan,
        "inf": [np.float32("inf"), np.array([1.5, np.nan])],
        "number": np.int64(3),
        "path": Path("a/b"),
        1: (True, None),
        "deep": [{"x": {"y": -math.inf}}],
    }
    told = write_json(tmp_path / "a" / "b.json", found)
    expected = {
        "nan": None,
        "inf": [None, [1.5, None]],
        "number": 3,
        "path": "a/b",
        "1": [True, None],
        "deep": [{"x": {"y": None}}],
    }
    assert told == expected == json.loads((tmp_path / "a" / "b.json").read_text(), parse_constant=pytest.fail)


def test_where_all_is_finite_the_bytes_are_those_of_the_standard_library(tmp_path):
    found = {"ä": [1, 2.5, 1e-9, 0.1 + 0.2], "none": None, "a": {"b": [], "c": {}, "yes": True}, "text": "\u202e猫"}
    write_json(tmp_path / "a.json", found)
    assert (tmp_path / "a.json").read_bytes() == (json.dumps(found, indent=2) + "\n").encode()
    assert plain(found) == found


def test_what_fails_leaves_what_was_there(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
