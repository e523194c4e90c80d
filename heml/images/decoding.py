"""Decode image and mask bytes that come from outside, and say clearly what is wrong with bad ones."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from heml.errors import HemlError

FORMATS = ("JPEG", "PNG", "WEBP")
Image.MAX_IMAGE_PIXELS = None  # `max_megapixels` is checked below, before any pixel is decoded


class BadImage(HemlError):
    """An image or mask file that cannot be used; the message names the file."""


def _open(data: bytes, source: str, max_megapixels: float) -> Image.Image:
    if not data:
        raise BadImage(f"{source}: the file is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadImage(f"{source}: not a readable {', '.join(FORMATS)} file") from None
    except Exception as error:  # noqa: BLE001 (Pillow raises many kinds on hostile bytes)
        raise BadImage(f"{source}: not a readable {', '.join(FORMATS)} file ({error})") from None
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise BadImage(
            f"{source}: {image.width}×{image.height} is {megapixels:.0f} megapixels, above dataset.max_megapixels "
            f"({max_megapixels:g}); shrink the image or raise the limit"
        )
    return image


def decode_image(data: bytes, source: str, max_megapixels: float = 50) -> Image.Image:
    """Decode to RGB, upright (EXIF orientation applied), from greyscale, palette, RGBA (on white) or CMYK.

    Raises:
        BadImage: empty, not an image, truncated, or larger than `max_megapixels`; `source` names it.
    """
    image = _open(data, source, max_megapixels)
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode in ("I", "I;16", "F"):  # 16-bit greyscale: Pillow's own conversion clips instead of scaling
            wide = np.asarray(image, dtype=np.float64)
            image = Image.fromarray((wide / max(wide.max(), 1) * 255).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")
    except Exception as error:  # noqa: BLE001
        raise BadImage(f"{source}: corrupt or truncated ({error})") from None


def decode_mask(data: bytes, source: str, max_megapixels: float = 50) -> NDArray[np.uint8]:
    """Decode a label mask to class ids, (H, W) uint8: a palette or 8-bit greyscale PNG.

    Raises:
        BadImage: not such a PNG, or corrupt; `source` names it.
    """
    image = _open(data, source, max_megapixels)
    if image.mode not in ("P", "L", "1"):
        raise BadImage(f"{source}: a mask must be a palette or 8-bit greyscale PNG, not mode {image.mode}")
    try:
        return np.asarray(image if image.mode != "1" else image.convert("L"), dtype=np.uint8)
    except Exception as error:  # noqa: BLE001
        raise BadImage(f"{source}: corrupt or truncated ({error})") from None


def check_mask(mask: NDArray[np.uint8], size: tuple[int, int], classes: dict[str, int], source: str) -> None:
    """Check a mask against its image's size (width, height) and the declared class ids.

    Raises:
        BadImage: another size, or ids that `classes` does not declare.
    """
    if (mask.shape[1], mask.shape[0]) != size:
        raise BadImage(f"{source}: the mask is {mask.shape[1]}×{mask.shape[0]} but its (upright) image is {size[0]}×{size[1]}")
    unknown = np.setdiff1d(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)), list(classes.values()))
    if unknown.size:
        raise BadImage(f"{source}: class ids {unknown.tolist()} are not declared among the data set's classes")


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """Lossless PNG bytes of an (H, W) or (H, W, 3) uint8 array."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
