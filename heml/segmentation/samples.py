"""Images and masks at the size a SegFormer reads, decoded once and kept as uint8."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heml.images.decoding import decode_image, decode_mask
from heml.images.shards import count_images, read_rows
from heml.params import Size
from heml.progress import progress

T = TypeVar("T")
BILINEAR = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class LabelledImages:
    """Images (N, H, W, 3) and masks (N, H, W) of one split, uint8; a mask is `VOID` where nothing is to be learnt or
    scored."""

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)


def resize_image(image: Image.Image, size: Size, resample: Image.Resampling = BILINEAR) -> NDArray[np.uint8]:
    """(H, W, 3) uint8; stretched, as SegFormer's own processor does."""
    return np.asarray(image.resize((size.width, size.height), resample, reducing_gap=3.0))


def resize_labels(labels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """(H, W) uint8 class ids, by nearest neighbour."""
    return np.asarray(Image.fromarray(labels).resize((size.width, size.height), Image.Resampling.NEAREST))


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def read_labelled(
    images: str | Path, size: Size, splits: Container[str], resample: Image.Resampling = BILINEAR
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Split, image (H, W, 3) and mask (H, W) of every image of `splits` that has a mask, one at a time."""
    rows = read_rows(images, ["image_id", "split", "image", "mask"])
    for row in progress(rows, "reading masks", count_images(images), "image"):
        if row["mask"] is not None and row["split"] in splits:
            picture = decode_image(row["image"]["bytes"], row["image_id"], float("inf"))
            mask = decode_mask(row["mask"]["bytes"], row["image_id"], float("inf"))
            yield row["split"], resize_image(picture, size, resample), resize_labels(mask, size)


def load_labelled(
    images: str | Path, size: Size, splits: Container[str], resample: Image.Resampling = BILINEAR
) -> dict[str, LabelledImages]:
    """All images of `splits` that have a mask, by split, in memory."""
    found: dict[str, tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]] = {}
    for split, picture, mask in read_labelled(images, size, splits, resample):
        pictures, masks = found.setdefault(split, ([], []))
        pictures.append(picture)
        masks.append(mask)
    return {split: LabelledImages(np.stack(p), np.stack(m)) for split, (p, m) in found.items()}
