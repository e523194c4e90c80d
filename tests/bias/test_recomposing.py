"""Recipes: donors that know nothing of the base's label, and what is made of them, pixel by pixel."""

from dataclasses import replace

import numpy as np
import pytest
from node_data import make_node_data

from heml.bias.attributes import Attribute
from heml.bias.balance import image_weights
from heml.bias.recomposing import make_recipes
from heml.bias.ties import Labelled
from heml.images.canvas import load_canvases
from heml.learning.inputs import compose
from heml.learning.recipes import KEPT, REMOVED, filled, lay_donor, read_recipes, write_recipes
from heml.params import Recompose
from heml.segments.manifest import read_manifest


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    made = make_node_data(tmp_path_factory.mktemp("run"), n=192, absent_every=5)
    made.run.recipes.mkdir()
    return made


@pytest.fixture(scope="module")
def partitions(data):
    return {name: read_manifest(data.run.segments, name) for name in ("left", "right")}


def test_donors_are_of_every_label_as_often_whatever_the_bases(partitions):
    own = partitions["left"]
    made = make_recipes("left", partitions, Recompose(draws=20))
    train = np.flatnonzero(own.splits == "train")
    assert (made.donors[own.splits != "train"] == KEPT).all()
    for label in (0, 1):
        donors = made.donors[train[own.labels[train] == label]]
        assert 0.45 < own.labels[donors].mean() < 0.55
    assert made.poured
    np.testing.assert_array_equal(made.boxes[train], np.repeat(own.boxes[train][:, None], 20, 1))


def test_the_control_has_donors_of_the_bases_own_label(partitions):
    own = partitions["left"]
    made = make_recipes("left", partitions, Recompose(donors="same"))
    train = np.flatnonzero(own.splits == "train")
    assert (own.labels[made.donors[train]] == own.labels[train, None]).all()


def test_presence_is_exchanged_where_it_goes_with_the_label(partitions):
    own = partitions["right"]
    assert (make_recipes("right", partitions, Recompose()).donors != REMOVED).all()
    tied = replace(own, present=own.present & (own.labels == 1))
    made = make_recipes("right", partitions | {"right": tied}, Recompose(draws=20))
    train = np.flatnonzero(own.splits == "train")
    removed = made.donors[train] == REMOVED
    assert not made.poured
    assert not (made.donors[train] == KEPT).any()
    shares = [removed[own.labels[train] == label].mean() for label in (0, 1)]
    assert abs(shares[0] - shares[1]) < 0.1  # whether it is there says nothing any more
    assert 0.3 < np.mean(shares) < 0.8


def test_size_that_goes_with_the_label_is_laid_outline_and_all(partitions):
    own = partitions["right"]
    boxes = own.boxes.copy()
    boxes[own.labels == 1, 2] += 3
    made = make_recipes("right", partitions | {"right": replace(own, boxes=boxes)}, Recompose())
    assert not made.poured
    assert make_recipes("right", partitions, Recompose()).poured


def test_a_file_of_recipes_reads_as_it_was_written(partitions, tmp_path):
    own = partitions["right"]
    tied = replace(own, present=own.present & (own.labels == 1))
    made = make_recipes("right", partitions | {"right": tied}, Recompose(rate=0.5))
    write_recipes(tmp_path / "right.parquet", made, own.image_ids)
    again = read_recipes(tmp_path / "right.parquet", own.image_ids)
    np.testing.assert_array_equal(again.donors, made.donors)
    np.testing.assert_array_equal(again.boxes, made.boxes)
    assert (again.rate, again.poured) == (0.5, False)
    write_recipes(tmp_path / "left.parquet", None, [])
    assert read_recipes(tmp_path / "left.parquet", own.image_ids) is None
    assert read_recipes(tmp_path / "none.parquet", own.image_ids) is None


def test_laid_pixels_are_the_nearest_written_as_a_loop():
    rng = np.random.default_rng(0)
    pixels, mask = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), rng.random((16, 16)) < 0.7
    source, box = np.array([2, 3, 8, 7], np.int16), np.array([5, -1, 17, 5], np.int16)
    found, there = lay_donor(pixels, mask, source, box)
    expected, seen = np.zeros_like(pixels), np.zeros_like(mask)
    for y in range(0, 5):
        for x in range(5, 16):
            from_x = 2 + int((x - 5 + 0.5) * 6 / 12)
            from_y = 3 + int((y + 1 + 0.5) * 4 / 6)
            expected[y, x], seen[y, x] = pixels[from_y, from_x], mask[from_y, from_x]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(there, seen)
    same, own = lay_donor(pixels, mask, source, source)
    np.testing.assert_array_equal(same[3:7, 2:8], pixels[3:7, 2:8])
    np.testing.assert_array_equal(own[3:7, 2:8], mask[3:7, 2:8])


def test_filling_takes_the_nearest_pixel_of_the_mask():
    pixels = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)
    mask = np.zeros((5, 5), bool)
    mask[2, 1] = mask[2, 3] = True
    found = filled(pixels, mask)
    np.testing.assert_array_equal(found[0, 0], pixels[2, 1])
    np.testing.assert_array_equal(found[4, 4], pixels[2, 3])
    np.testing.assert_array_equal(found[mask], pixels[mask])


def test_training_sees_the_donors_pixels_in_the_bases_outline(data, partitions):
    made = make_recipes("right", partitions, Recompose(draws=1, candidates=1))
    write_recipes(data.run.recipe("right"), made, partitions["right"].image_ids)
    images = compose(["left", "right"], data.run, recompose=True)
    rows = images.rows("train")[:20]
    pixels, masks = images.training_batch(rows, np.random.default_rng(0))
    plain, same = compose(["left", "right"], data.run).batch(rows)
    np.testing.assert_array_equal(masks, same)
    x0, y0, x1, y1 = images.box
    stored = load_canvases(data.run.canvases).pixels
    for k, row in enumerate(rows.tolist()):
        mask, donor = data.masks["right"][row], int(made.donors[row, 0])
        expected = np.array(stored[row])
        if mask.any():
            laid, _ = lay_donor(filled(stored[donor], data.masks["right"][donor]), data.masks["right"][donor], *(
                partitions["right"].boxes[r] for r in (donor, row)))  # fmt: skip
            expected[mask] = laid[mask]
            assert donor == row or (expected != stored[row]).any()
        np.testing.assert_array_equal(pixels[k].numpy().transpose(1, 2, 0), expected[y0:y1, x0:x1])
    assert (pixels != plain).any()
    held = images.rows("val")
    np.testing.assert_array_equal(images.training_batch(held, np.random.default_rng(0))[0], images.batch(held)[0])


def test_a_laid_segment_takes_the_bases_own_away_and_nothing_is_never_shown(data, partitions):
    tied = replace(partitions["right"], present=partitions["right"].present & (partitions["right"].labels == 1))
    made = make_recipes("right", partitions | {"right": tied}, Recompose(how="lay", presence=True))
    write_recipes(data.run.recipe("right"), made, partitions["right"].image_ids)
    images = compose(["right"], data.run, recompose=True)
    rows = images.rows("train")
    _, masks = images.training_batch(rows, np.random.default_rng(0))
    assert masks.flatten(1).any(1).all()


def test_without_recipes_training_reads_what_is_there(data):
    images = compose(["left", "right"], data.run)
    rows = images.rows("train")
    for one, other in zip(images.training_batch(rows, np.random.default_rng(0)), images.batch(rows), strict=True):
        np.testing.assert_array_equal(one, other)


def test_balanced_images_make_every_look_as_heavy_with_one_label_as_with_another():
    rng = np.random.default_rng(0)
    labels, splits = rng.integers(0, 2, 600), np.repeat(["train", "val", "test"], 200)
    look = np.where(rng.random(600) < 0.75, labels, 1 - labels)
    weights = image_weights(
        [Attribute("p", "colour", ["a", "b"], look, [[], []])], Labelled(labels, splits, ["x", "y"])
    )
    for split in ("train", "val", "test"):
        inside = splits == split
        assert weights[inside].mean() == pytest.approx(1)
        for group in (0, 1):
            heavy = [weights[inside & (look == group) & (labels == label)].sum() for label in (0, 1)]
            assert heavy[0] == pytest.approx(heavy[1])
    assert (image_weights([], Labelled(labels, splits, ["x", "y"])) != 1).any()  # without a look: the labels alone
