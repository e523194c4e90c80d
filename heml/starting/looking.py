"""What lies in a folder of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heml.datasets.folder import read_classes
from heml.datasets.listing import SUFFIXES, list_images
from heml.errors import HemlError
from heml.images.decoding import FORMATS, ORIENTATION, BadImage, decode_mask
from heml.images.void import void_ids
from heml.progress import progress
from heml.starting.parts import Part, moments, part_of

LOOKED = 400
"""Masks that are looked at, at most, spread over all."""


@dataclass(frozen=True)
class Photos:
    """A folder, looked at."""

    root: Path
    laid_out: bool
    """Whether the images lie in `images/`, as the pipeline reads them; otherwise directly in the folder."""
    images: dict[str, Path]
    others: list[str]
    """What is no image there."""
    unreadable: list[str]
    sizes: NDArray[np.int64]
    """Width and height of each image as it is shown, (N, 2)."""
    turned: int
    """Images that EXIF turns."""
    masks: dict[str, Path]
    classes: dict[str, int]
    """Of the masks, without void."""
    looked: list[str]
    """The images whose masks were looked at."""
    parts: list[Part]
    stored: bool | None
    """Whether masks lie over the pixels as they are stored of images that EXIF turns; None: it cannot be told, or there
    are none."""

    @property
    def unmasked(self) -> int:
        """Images without a mask."""
        return sum(image_id not in self.masks for image_id in self.images)


def look(root: Path) -> Photos:
    """Look at every image's header, and at a sample of the masks.

    Raises:
        HemlError: no such folder, no images in it, links that lead out of it, masks without readable classes.
    """
    if not root.is_dir():
        raise HemlError(f"{root}: no such folder; name one that holds photographs")
    laid_out = (root / "images").is_dir() or (root / "images").is_symlink()
    listing = list_images(root / "images" if laid_out else root, root)
    if not listing.files:
        raise HemlError(f"{root}: holds no image ({', '.join(SUFFIXES)})")
    masks = list_images(root / "masks", root).files if laid_out and (root / "masks").is_dir() else {}
    masks = {image_id: path for image_id, path in masks.items() if image_id in listing.files}
    classes = read_classes(root / "classes.json", root) if masks else {}
    classes = {name: number for name, number in classes.items() if number not in void_ids(classes)}
    sizes, unreadable, turned, stored = [], [], 0, set()
    for image_id, path in progress(listing.files.items(), "photographs", len(listing.files), "image"):
        try:
            with Image.open(path, formats=FORMATS) as image:
                size, how = image.size, image.getexif().get(ORIENTATION, 1)
        # Pillow raises many kinds on hostile bytes; the stage that decodes it says what is wrong
        except Exception:  # noqa: BLE001
            unreadable.append(path.name)
            continue
        if 5 <= how <= 8 and size[0] != size[1] and image_id in masks:
            stored.add(_size(masks[image_id]) == size)
        turned += how in range(2, 9)
        sizes.append(size[::-1] if 5 <= how <= 8 else size)
    if not sizes:
        raise HemlError(f"{root}: none of its {len(listing.files)} images can be opened")
    looked, parts = _look_at_masks(masks, classes)
    over_stored = stored.pop() if len(stored) == 1 else None
    known = np.array(sizes, np.int64)
    return Photos(
        root,
        laid_out,
        listing.files,
        listing.others,
        unreadable,
        known,
        turned,
        masks,
        classes,
        looked,
        parts,
        over_stored,
    )


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except Exception:  # noqa: BLE001 (as above)
        return None


def _look_at_masks(masks: dict[str, Path], classes: dict[str, int]) -> tuple[list[str], list[Part]]:
    chosen = sorted(masks)
    if len(chosen) > LOOKED:
        chosen = [chosen[k] for k in np.linspace(0, len(chosen) - 1, LOOKED).round().astype(int)]
    looked, rows = [], []
    for image_id in progress(chosen, "masks", len(chosen), "mask"):
        try:
            ids = decode_mask(masks[image_id].read_bytes(), str(masks[image_id]))
        except BadImage:
            continue  # told by the stage that reads it
        looked.append(image_id)
        rows.append(moments(ids))
    if masks and not looked:
        raise HemlError(
            f"{next(iter(masks.values())).parent}: none of the masks can be read as one of class ids (docs/own_data.md)"
        )
    found = np.stack(rows) if rows else np.zeros((0, 6, 256))
    return looked, [part_of(name, found, [number]) for name, number in classes.items()]


def sizes_in_words(sizes: NDArray[np.int64]) -> str:
    """`256×256`, or the smallest and the largest side."""
    if (sizes == sizes[0]).all():
        return f"{sizes[0, 0]}×{sizes[0, 1]}"
    width, height = np.median(sizes, 0)
    return f"{sizes.min()} to {sizes.max()} pixels a side, mostly about {width:.0f}×{height:.0f}"


def rounded(length: float, unit: int = 32, least: int = 64, most: int = 512) -> int:
    """A side in whole units."""
    return int(min(max(round(length / unit) * unit, least), most))


def shape(sizes: NDArray[np.int64], short: int) -> tuple[int, int]:
    """Height and width like the photographs' in the middle, the shorter side `short`; at most twice as long as wide."""
    ratio = float(np.median(sizes[:, 1] / sizes[:, 0]))
    if ratio >= 1:
        return rounded(short * min(ratio, 2), short // 2, short), short
    return short, rounded(short * min(1 / ratio, 2), short // 2, short)


def within(values: Sequence[str], most: int = 6) -> str:
    """The first of many words."""
    return ", ".join(values[:most]) + (" …" if len(values) > most else "")
