"""A slip is answered with the name that was meant, and nonsense with nothing."""

import pytest
import yaml

from heml.errors import HemlError
from heml.meant import meant
from heml.params import parse_params
from heml.tree import Tree


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("hiar", ["hair", "hat"], "hair"),
        ("HAIR", ["hat", "hair"], "hair"),
        ("left-shoe", ["Left_shoe", "Right_shoe"], "Left_shoe"),
    ],
)
def test_the_nearest(name, known, found):
    assert meant(name, known) == f"; did you mean {found!r}?"


def test_nothing_near():
    assert meant("zebra", ["hair", "hat"]) == ""
    assert meant("x", []) == ""
    assert meant("y" * 100_000, ["hair"]) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["train"].update(epochz=3), r"train\.epochz: unknown key; .*did you mean 'epochs'\?"),
        (lambda raw: raw.update(segmentr={}), r"segmentr: unknown key; .*did you mean 'segmenter'\?"),
        (lambda raw: raw["metric"].update(off=["glases"]), r"metric\.off: 'glases' .*did you mean 'glasses'\?"),
        (lambda raw: raw.update(recompose={"glases": {}}), r"recompose\.glases: .*did you mean 'glasses'\?"),
        (lambda raw: raw["metric"].update(balance=["hairs"]), r"metric\.balance: 'hairs' .*did you mean 'hair'\?"),
        (
            lambda raw: raw.update(students={"s": {"teacher": "portrat"}}),
            r"students\.s\.teacher: .*did you mean 'portrait'\?",
        ),
        (lambda raw: raw["embed"].update(hide=["glases"]), r"embed\.hide: .*did you mean 'glasses'\?"),
        (
            lambda raw: raw["tree"]["level_1"]["jaw"].update(left="moutn"),
            r"tree\.level_1\.jaw: .*did you mean 'mouth'\?",
        ),
        (
            lambda raw: raw["segments"].update(hairs=raw["segments"].pop("hair")),
            r"tree\.level_0\.hair: .*did you mean 'hairs'\?",
        ),
    ],
)
def test_a_name_in_params_yaml(params_dict, change, message):
    change(params_dict)
    with pytest.raises(HemlError, match=message):
        Tree.from_params(parse_params(yaml.safe_dump(params_dict)))
