"""What a node sees: masked, cropped, absent or moved."""

import numpy as np
import pytest
from node_data import make_node_data

from heml.errors import HemlError
from heml.images.imagenet import MEAN, STD
from heml.learning.inputs import compose, find_box, prepare
from heml.run import Run


def test_a_node_sees_the_union_of_its_segments_and_nothing_else(tmp_path):
    data = make_node_data(tmp_path)
    images = compose(["left", "right"], data.run)
    x0, y0, x1, y1 = images.box
    pixels, masks = images.batch(np.array([3, 0]))
    assert (pixels[0].permute(1, 2, 0).numpy() == data.pixels[3, y0:y1, x0:x1]).all()
    union = data.masks["left"][3] | data.masks["right"][3]
    assert (masks[0, 0].numpy().astype(bool) == union[y0:y1, x0:x1]).all()
    x = prepare(pixels, masks)
    assert (x[0][:, masks[0, 0] == 0] == 0).all()
    at = np.argwhere(union[y0:y1, x0:x1])[0]
    expected = (data.pixels[3, y0:y1, x0:x1][tuple(at)] / 255 - MEAN) / STD
    assert x[0][:, at[0], at[1]].numpy() == pytest.approx(expected, abs=1e-5)


def test_absent_images_are_in_no_split_of_the_node(tmp_path):
    data = make_node_data(tmp_path, absent_every=3)
    images = compose(["right"], data.run)
    gone = np.arange(len(images.present)) % 3 == 0
    assert (images.present == ~gone).all()
    for split in ("train", "val", "test"):
        assert not set(images.rows(split)) & set(np.flatnonzero(gone))
    both = compose(["left", "right"], data.run)
    assert both.present.all()
    assert images.area == pytest.approx(data.masks["right"][images.splits == "train"].mean(), abs=1e-6)


def test_the_box_ignores_one_stray_image_and_grows_to_a_usable_size():
    boxes = np.tile([10, 20, 18, 25], (200, 1))
    boxes[7] = [0, 0, 64, 64]
    assert find_box(boxes, (64, 64)) == (6, 14, 22, 30)
    assert find_box(np.array([[60, 60, 64, 64]]), (64, 64)) == (48, 48, 64, 64)
    assert find_box(np.array([[0, 0, 64, 64]]), (64, 64)) == (0, 0, 64, 64)


def test_an_image_whose_pixels_all_lie_outside_the_box_is_absent(tmp_path):
    data = make_node_data(tmp_path)
    images = compose(["left"], data.run, box=(16, 16, 32, 32))
    inside = data.masks["left"][:, 16:32, 16:32].any((1, 2))
    assert (images.present == inside).all()


def test_data_that_does_not_belong_together_is_refused(tmp_path):
    a, b = make_node_data(tmp_path / "a"), make_node_data(tmp_path / "b", n=30)
    mixed = Run(tmp_path / "mixed")
    mixed.data.mkdir(parents=True)
    mixed.canvases.symlink_to(a.run.canvases)
    mixed.segments.symlink_to(b.run.segments)
    with pytest.raises(HemlError, match="made from other images"):
        compose(["left"], mixed)
    with pytest.raises(HemlError, match="run `dvc repro manifest@nose`"):
        compose(["nose"], a.run)
