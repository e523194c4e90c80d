"""Splits that keep each label's share."""

from collections import Counter

import pytest

from heml.datasets.splits import check_labels, split_by_label, stratified_split
from heml.errors import HemlError

FRACTIONS = {"train": 0.6, "val": 0.15, "test": 0.25}


def test_shares_are_kept_and_order_does_not_matter():
    labels = {f"i{k}": int(k % 5 == 0) for k in range(1000)}
    split = stratified_split(labels, FRACTIONS, 0)
    counts = Counter((split[i], y) for i, y in labels.items())
    assert counts == {
        ("train", 0): 480,
        ("val", 0): 120,
        ("test", 0): 200,
        ("train", 1): 120,
        ("val", 1): 30,
        ("test", 1): 50,
    }
    backwards = dict(reversed(labels.items()))
    assert stratified_split(backwards, FRACTIONS, 0) == split
    assert stratified_split(labels, FRACTIONS, 1) != split


@pytest.mark.parametrize("each", [2, 3, 4, 5, 7])
@pytest.mark.parametrize(
    "fractions", [FRACTIONS, dict.fromkeys(FRACTIONS, 1 / 3), {"train": 0.1, "val": 0.45, "test": 0.45}]
)
def test_train_gets_two_of_every_label_and_no_split_goes_without(each, fractions):
    labels = {f"{name:02d}_{k}": name for name in range(20) for k in range(each)}
    counts = Counter((stratified_split(labels, fractions, 0)[i], name) for i, name in labels.items())
    assert all(counts["train", name] >= 2 for name in range(20))
    held = {split: sum(n for (own, _), n in counts.items() if own == split) for split in ("val", "test")}
    assert (min(held.values()) > 0) == (each > 2)
    if each == 3:
        assert held == {"val": 10, "test": 10}


def test_a_label_with_images_enough_is_in_every_split():
    labels = {f"a{k}": 0 for k in range(100)} | {f"b{k}": 1 for k in range(4)}
    split = stratified_split(labels, FRACTIONS, 0)
    assert sorted(split[f"b{k}"] for k in range(4)) == ["test", "train", "train", "val"]


def test_a_class_that_train_hardly_has_is_named():
    pairs = [("train", 0), ("train", 0), ("train", 1), ("val", 0), ("test", 1)]
    with pytest.raises(HemlError, match=r"class 'b' has 1 image\(s\) in train, of 2 in all"):
        check_labels("kind", ["a", "b"], pairs)


def test_by_label_no_label_is_in_two_splits_and_each_has_its_share():
    labels = {f"i{k:03d}": k % 100 for k in range(600)}
    split = split_by_label(labels, FRACTIONS, 0)
    where = {split_name: {labels[i] for i, own in split.items() if own == split_name} for split_name in FRACTIONS}
    assert {name: len(own) for name, own in where.items()} == {"train": 60, "val": 15, "test": 25}
    assert not where["train"] & where["val"]
    assert not where["test"] & (where["train"] | where["val"])
    assert split_by_label(dict(reversed(labels.items())), FRACTIONS, 0) == split
    assert split_by_label(labels, FRACTIONS, 1) != split
    few = Counter(split_by_label({f"i{k}": k % 6 for k in range(60)}, FRACTIONS, 0).values())
    assert few == {"train": 20, "val": 20, "test": 20}
    with pytest.raises(
        HemlError, match="5 labels with two or more images are too few for two in each of train, val, test"
    ):
        split_by_label({f"i{k}": k % 5 for k in range(60)}, FRACTIONS, 0)


def test_by_label_every_split_has_two_labels_that_can_be_found_whatever_the_seed():
    labels = {f"i{k}_{j}": k for k in range(12) for j in range(1 if k < 5 else 6)}  # five of twelve have one image
    names = [f"p{k}" for k in range(12)]
    for seed in range(50):
        for fractions in (FRACTIONS, {"train": 0.1, "val": 0.45, "test": 0.45}):
            split = split_by_label(labels, fractions, seed)
            assert split.keys() == labels.keys()
            check_labels("who", names, [(split[i], label) for i, label in labels.items()], by_label=True)


def test_by_label_a_label_in_two_splits_is_named_and_one_image_alone_is_no_fault():
    names = [f"p{k}" for k in range(7)]
    pairs = [
        (split, 2 * k + own) for k, split in enumerate(("train", "val", "test")) for own in (0, 1) for _ in range(2)
    ]
    check_labels("who", names, [*pairs, ("test", 6)], by_label=True)
    with pytest.raises(HemlError, match="who 'p0' is in train and in test; keep each label in one split"):
        check_labels("who", names, [*pairs, ("test", 0)], by_label=True)
    with pytest.raises(HemlError, match=r"split 'test' has 1 label\(s\) with two or more images"):
        check_labels("who", names, pairs[:-1], by_label=True)
    with pytest.raises(HemlError, match="set dataset.split_by: label"):
        check_labels("who", names, pairs)
