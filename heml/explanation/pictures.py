"""What a node sees of an image, as pixels."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heml.learning.inputs import NodeImages

GREY = 236
"""What lies outside a segment, in a picture for people."""


def grey_out(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture, (h, w, 3), with everything outside the mask, (h, w), greyed out."""
    return np.where(mask[..., None], pixels, GREY).astype(np.uint8)


def segment_picture(images: NodeImages, row: int) -> NDArray[np.uint8]:
    """One canvas with everything but the node's segments greyed out, cropped to the node's box: (h, w, 3) uint8."""
    pixels, mask = images.batch(np.array([row]))
    return grey_out(pixels[0].permute(1, 2, 0).numpy(), mask[0, 0].numpy() > 0)


def palette(count: int) -> NDArray[np.uint8]:
    """`count` colours that differ in hue and lightness, (count, 3) uint8; the same every time."""
    colours = [colorsys.hls_to_rgb((i * 0.618034) % 1, (0.45, 0.6, 0.35)[i % 3], 0.75) for i in range(count)]
    return (np.array(colours) * 255).astype(np.uint8)


def overlay(canvas: NDArray[np.uint8], masks: NDArray[np.bool_], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Segments painted over a canvas.

    Args:
        canvas: (H, W, 3). masks: (S, H, W). colours: (S, 3).
    """
    picture = canvas.astype(np.float32) * 0.9
    for mask, colour in zip(masks, colours, strict=True):
        picture[mask] = picture[mask] * 0.4 + colour.astype(np.float32) * 0.6
    return picture.astype(np.uint8)


def side_by_side(pictures: Sequence[NDArray[np.uint8]], gap: int = 4, least: int = 192) -> NDArray[np.uint8]:
    """Pictures of one size, (h, w, 3) each, in a row on white, enlarged by a whole number until at least `least` pixels
    high."""
    times = max(-(-least // pictures[0].shape[0]), 1)
    tiles = [picture.repeat(times, 0).repeat(times, 1) for picture in pictures]
    blank = np.full((tiles[0].shape[0], gap * times, 3), 255, np.uint8)
    return np.concatenate([part for tile in tiles for part in (tile, blank)][:-1], 1)
