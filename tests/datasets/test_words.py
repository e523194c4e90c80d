"""Labels as words: what is missing, and what is one value in two spellings."""

import pytest

from heml.datasets.words import check_spelling, cleaned, is_missing
from heml.errors import HemlError


def test_the_usual_marks_are_missing_and_words_are_not():
    assert all(map(is_missing, ["", " ", "NA", "n/a", "NaN", "null", "None", "<NA>", "#N/A"]))
    assert not any(map(is_missing, ["0", "no", "nobody", "false", "Nan Goldin"]))
    assert cleaned(" Zoe\u0301 ") == "Zo\u00e9"


@pytest.mark.parametrize(
    "pair", [("Male", "male"), ("1", "1.0"), ("1", "01"), ("a  b", "a b"), ("1e3", "1000"), ("\ufb01n", "fin")]
)
def test_one_value_in_two_spellings_is_refused_by_place_and_value(pair):
    with pytest.raises(HemlError) as raised:
        check_spelling("kind", [("line 2", pair[0]), ("line 3", pair[0]), ("line 9", pair[1])])
    for told in ("line 9", "line 2", repr(pair[0]), repr(pair[1])):
        assert told in str(raised.value)


def test_values_that_differ_are_two():
    check_spelling(
        "kind", [(str(k), word) for k, word in enumerate(["1", "2", "a", "b", "1_0", "10", "ab", "a b", "a"])]
    )
