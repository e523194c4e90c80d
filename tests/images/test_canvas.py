"""Where an image and its mask lie on the canvas."""

import numpy as np
import pytest
from PIL import Image

from heml.errors import HemlError
from heml.images.canvas import lay_image, lay_mask, load_canvases, placement, write_canvases
from heml.images.decoding import encode_png
from heml.images.shards import Description, ImageRecord, write_images
from heml.params import Canvas
from heml.run import Run


def test_padding_keeps_the_aspect_ratio_and_centres():
    assert placement(200, 100, Canvas(height=64, width=64)) == (0, 16, 64, 48)
    assert placement(256, 384, Canvas(height=96, width=64)) == (0, 0, 64, 96)
    assert placement(200, 100, Canvas(height=64, width=64, fit="stretch")) == (0, 0, 64, 64)
    assert placement(1, 10_000, Canvas(height=64, width=64)) == (31, 0, 32, 64)


def test_image_and_mask_are_laid_alike():
    mask = np.zeros((50, 100), bool)
    mask[10:30, 20:70] = True
    image = Image.fromarray((mask[..., None] * np.array([255, 255, 255])).astype(np.uint8))
    canvas = Canvas(height=64, width=64)
    laid = lay_mask(mask, (100, 50), canvas)
    bright = lay_image(image, canvas)[..., 0] > 127
    assert (laid != bright).mean() < 0.01
    assert not laid[:16].any()
    assert not laid[48:].any()


def test_coverage_decides_about_partly_covered_pixels():
    mask = np.zeros((64, 64), bool)
    mask[::4] = True  # every canvas pixel of 4×4 is covered by a quarter
    canvas = Canvas(height=16, width=16)
    assert not lay_mask(mask, (64, 64), canvas, 0.5).any()
    assert lay_mask(mask, (64, 64), canvas, 0.25).all()


def test_canvases_are_memory_mapped_and_know_who_they_are(tmp_path):
    records = [
        ImageRecord(f"i{k}", split, k % 2, encode_png(np.full((8, 12, 3), k * 20, np.uint8)), "x.png")
        for k, split in enumerate(["train", "val", "test"])
    ]
    run = Run(tmp_path)
    write_images(run.images, records, Description("t", "y", ["a", "b"]))
    write_canvases(Canvas(height=16, width=16, fit="stretch"), run)
    stored = load_canvases(run.canvases)
    assert isinstance(stored.pixels, np.memmap)
    assert stored.pixels[:, 3, 3, 0].tolist() == [0, 20, 40]
    assert stored.image_ids == ["i0", "i1", "i2"]
    assert stored.splits.tolist() == ["train", "val", "test"]
    with pytest.raises(HemlError, match="run `dvc repro canvases`"):
        load_canvases(tmp_path / "none")
