"""The findings' sentences."""

import pytest

from heml.reporting.panels.answer import _enumerated, _plainly


@pytest.mark.parametrize(("names", "told"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_names_are_enumerated(names, told):
    assert _enumerated(names) == told


def finding(low: float | None, against: float | None = 0.9) -> dict:
    return {
        "told": {"blue": "yes", "black": "no", "red": "yes"},
        "tree": {"with": 1.0, "against": against, "fall_low": low},
        "node": {"node": "upper_face", "with": 0.8, "against": 0.25},
    }


def test_a_finding_is_told_without_terms_of_art():
    told = (
        "In training, blue and red go with yes; black goes with no. Going by upper face alone, it is right for 80.0 %"
    )
    told += " of the test images where that holds, and for 25.0 % where it does not."
    assert _plainly(finding(0.02)) == f"{told} The whole answer suffers: 100.0 % against 90.0 %."
    assert _plainly(finding(-0.02)) == f"{told} That the whole suffers is not sure: 100.0 % against 90.0 %."
    assert _plainly(finding(None, None)) == told
    nothing = finding(-0.02) | {"node": None}
    assert "alone" not in _plainly(nothing)
