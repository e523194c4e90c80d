"""Splits that keep each label's share."""

from collections import Counter

import pytest

from heml.datasets.splits import check_labels, stratified_split
from heml.errors import HemlError

FRACTIONS = {"train": 0.6, "val": 0.15, "test": 0.25}


def test_shares_are_kept_and_order_does_not_matter():
    labels = {f"i{k}": int(k % 5 == 0) for k in range(1000)}
    split = stratified_split(labels, FRACTIONS, 0)
    counts = Counter((split[i], y) for i, y in labels.items())
    assert counts == {("train", 0): 480, ("val", 0): 120, ("test", 0): 200, ("train", 1): 120, ("val", 1): 30, ("test", 1): 50}
    backwards = dict(reversed(labels.items()))
    assert stratified_split(backwards, FRACTIONS, 0) == split
    assert stratified_split(labels, FRACTIONS, 1) != split


def test_a_rare_label_is_in_every_split():
    labels = {f"a{k}": 0 for k in range(100)} | {f"b{k}": 1 for k in range(3)}
    split = stratified_split(labels, FRACTIONS, 0)
    assert sorted(split[f"b{k}"] for k in range(3)) == ["test", "train", "val"]


def test_a_class_that_train_hardly_has_is_named():
    pairs = [("train", 0), ("train", 0), ("train", 1), ("val", 0), ("test", 1)]
    with pytest.raises(HemlError, match=r"class 'b' has 1 image\(s\) in train"):
        check_labels("kind", ["a", "b"], pairs)
