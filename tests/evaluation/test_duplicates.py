"""Near-duplicates are found across splits, mirrored or recompressed, and nothing else is."""

import io

import numpy as np
from PIL import Image

from heml.evaluation.duplicates import near_duplicates, thumbnails
from heml.images.canvas import write_canvases
from heml.images.decoding import encode_png
from heml.images.shards import Description, ImageRecord, write_images
from heml.params import Canvas
from heml.run import Run


def smooth(rng) -> np.ndarray:
    """A photograph's kind of image: correlated over space."""
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC))


def recompressed(pixels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((48, 48)).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer).resize((64, 64)))


def test_copies_across_splits_are_found_and_strangers_are_not(tmp_path):
    rng = np.random.default_rng(0)
    pixels = [smooth(rng) for _ in range(60)]
    pixels += [recompressed(pixels[0]), pixels[1][:, ::-1], pixels[2], np.zeros((64, 64, 3), np.uint8)]
    splits = ["train"] * 30 + ["test"] * 30 + ["test", "val", "train", "val"]  # image 62 is a copy within its split
    records = [
        ImageRecord(f"i{i:02d}", s, 0, encode_png(np.ascontiguousarray(p)), "")
        for i, (p, s) in enumerate(zip(pixels, splits, strict=True))
    ]
    run = Run(tmp_path)
    write_images(run.images, records, Description("t", "l", ["a"]))
    write_canvases(Canvas(height=32, width=32), run)
    found = near_duplicates(run.canvases, 0.98)
    assert {(r.image_a, r.image_b, r.split_b, r.mirrored) for r in found.itertuples()} == {
        ("i00", "i60", "test", False),
        ("i01", "i61", "val", True),
    }
    assert found["correlation"].is_monotonic_decreasing


def test_thumbnails_correlate_as_numpy_says():
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    grey = pixels.mean(3).reshape(3, 16, 2, 16, 2).mean((2, 4)).reshape(3, -1)
    x = thumbnails(pixels)
    assert np.allclose((x @ x.T).numpy(), np.corrcoef(grey), atol=1e-5)
