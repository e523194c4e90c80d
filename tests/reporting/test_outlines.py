"""Outlines drawn back cover what the masks cover."""

import base64

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from heml.reporting.outlines import GRID, outlines


def drawn(text: str, shape: tuple[int, int]) -> np.ndarray:
    """The mask that rings cover, even-odd, by Pillow, on the outlines' own grid."""
    data, at = base64.b64decode(text), 0
    height, width = (round(GRID * side / max(shape)) for side in shape)
    found = Image.new("1", (width, height))
    while at < len(data):
        n = data[at]
        ring = np.frombuffer(data[at + 1 : at + 1 + 2 * n], np.uint8).reshape(n, 2)
        at += 1 + 2 * n
        one = Image.new("1", found.size)
        ImageDraw.Draw(one).polygon([tuple(map(int, corner)) for corner in ring], fill=1)
        found = ImageChops.logical_xor(found, one)
    return np.asarray(found)


def overlap(mask: np.ndarray) -> float:
    there = drawn(outlines(mask), mask.shape)
    wanted = (
        np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(there.shape[::-1], Image.Resampling.NEAREST)) > 0
    )
    return float((there & wanted).sum() / (there | wanted).sum())


@pytest.mark.parametrize("shape", [(32, 32), (96, 64), (40, 128), (256, 256)])
def test_shapes_with_holes_and_in_pieces_come_back(shape):
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None]
    ring = (((x - 0.4) ** 2 + (y - 0.5) ** 2) < 0.09) & (((x - 0.4) ** 2 + (y - 0.5) ** 2) > 0.02)
    pieces = ring | ((x > 0.85) & (y > 0.7))
    assert overlap(pieces) > 0.9
    assert overlap(np.ones(shape, bool)) > 0.97


def test_a_single_pixel_has_an_outline_and_nothing_has_none():
    mask = np.zeros((32, 32), bool)
    assert outlines(mask) == ""
    mask[3, 30] = True
    there = drawn(outlines(mask), mask.shape)
    assert there.any()
    rows, columns = np.nonzero(there)
    assert abs(rows.mean() - 3.5 * GRID / 32) < 2
    assert abs(columns.mean() - 30.5 * GRID / 32) < 2


def test_a_ragged_mask_keeps_to_a_byte_a_ring():
    mask = np.random.default_rng(0).random((256, 256)) < 0.5
    mask[:, ::2] = True
    data, at = base64.b64decode(outlines(mask)), 0
    while at < len(data):
        at += 1 + 2 * data[at]
    assert at == len(data)
