"""What stands for no class, and which declarations are refused."""

import pytest

from heml.images.void import class_faults, void_ids


def test_255_and_classes_that_are_called_so_are_void():
    assert void_ids({"hair": 1}) == {255}
    assert void_ids({"Void": 0, "unlabeled": 7, "hair": 1, " ignore ": 3, "avoid": 4}) == {0, 3, 7, 255}
    assert class_faults({"void": 255, "hair": 1, "unlabelled": 0}) == []


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"hair": 256}, "hair: 256 is no id"),
        ({"hair": -1}, "hair: -1 is no id"),
        ({"hair": True}, "hair: True is no id"),
        ({"hair": 1.0}, "hair: 1.0 is no id"),
        ({"hair": 255}, "'hair' has the id 255, which means no class"),
        ({"hair": 1, "hat": 1}, "share an id, 1"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_named(classes, said):
    assert said in class_faults(classes)[0]
