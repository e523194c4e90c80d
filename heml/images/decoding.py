"""Decode image and mask bytes that come from outside, and say clearly what is wrong with bad ones."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from heml.errors import HemlError
from heml.images.void import VOID

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MASK_FORMATS = ("PNG", "BMP", "TIFF")
"""Those that keep every value."""
Image.MAX_IMAGE_PIXELS = None  # `max_megapixels` is checked below, before any pixel is decoded

ORIENTATION = 0x0112
"""EXIF's tag: how the stored pixels are to be turned before they are shown, 1 (not at all) to 8."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXACT_TIFF = (1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000)
"""Compressions that keep every value: none, CCITT (1 bit), LZW, deflate, PackBits, LZMA, Zstandard."""


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
    if image.format in ("PNG", "WEBP", "TIFF") and (frames := getattr(image, "n_frames", 1)) > 1:
        raise BadImage(f"{source}: holds {frames} pictures, and which one is meant cannot be told; save it as one")
    return image


def decode_image(data: bytes, source: str, max_megapixels: float = 50) -> Image.Image:
    """Decode to RGB, upright, as `to_rgb` has it.

    Raises:
        BadImage: empty, not an image, truncated, of several pictures, or larger than `max_megapixels`; `source` names
            it.
    """
    image = _open(data, source, max_megapixels)
    try:
        image.load()
    except Exception as error:  # noqa: BLE001
        raise BadImage(f"{source}: corrupt or truncated ({error})") from None
    return to_rgb(image, source)


def to_rgb(image: Image.Image, source: str) -> Image.Image:
    """Any Pillow image as RGB: turned upright by its EXIF orientation, transparency on white, 16 bits of grey scaled by
    the type's range (65,535 is white), so that brightness stays comparable between images.

    Raises:
        BadImage: grey values that have no range to scale by (floats, 32 bits); or pixels that cannot be had.
    """
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode == "F" or image.mode.startswith("I"):  # Pillow's own conversion clips instead of scaling
            wide = np.asarray(image)
            if image.mode == "F" or wide.min() < 0 or wide.max() > 0xFFFF:
                raise BadImage(
                    f"{source}: its grey values (mode {image.mode}, up to {wide.max():g}) have no known white; save it"
                    " with 8 or 16 bits"
                )
            image = Image.fromarray((wide / 257).round().astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")
    except BadImage:
        raise
    except Exception as error:  # noqa: BLE001
        raise BadImage(f"{source}: corrupt or truncated ({error})") from None


def orientation(data: bytes) -> int:
    """How the stored pixels of an image are turned before they are shown (EXIF), 1 to 8; 1, not at all, where nothing
    is said."""
    try:
        found = Image.open(io.BytesIO(data), formats=FORMATS).getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 (who decodes the image says what is wrong with it)
        return 1
    return found if found in _TURNS else 1


def turned(mask: NDArray[np.uint8], how: int) -> NDArray[np.uint8]:
    """A mask (H, W) turned as an image of this EXIF orientation is."""
    return np.asarray(Image.fromarray(mask).transpose(_TURNS[how])) if how in _TURNS else mask


def decode_mask(data: bytes, source: str, max_megapixels: float = 50) -> NDArray[np.uint8]:
    """The class ids of a label mask as they were written, (H, W) uint8: a palette or greyscale image of 1, 2, 4 or 8
    bits.

    Raises:
        BadImage: anything in which class ids may not have survived, or corrupt; `source` names it, and how to mend it.
    """
    image = _open(data, source, max_megapixels)
    mend = "save the class ids as a palette or 8-bit greyscale PNG"
    if image.format not in MASK_FORMATS:
        raise BadImage(f"{source}: is {image.format}, which does not keep class ids; {mend}")
    if image.mode not in ("P", "L", "1"):
        raise BadImage(
            f"{source}: a mask must be a palette or greyscale image of at most 8 bits, not mode {image.mode}; {mend}"
        )
    if image.getexif().get(ORIENTATION, 1) not in (0, 1):
        raise BadImage(f"{source}: the mask itself is turned by EXIF; save it upright, without")
    scale = 1
    if image.format == "TIFF":
        scale = _tiff_scale(image, source, mend)
    elif image.format == "PNG" and image.mode == "L":
        scale = 255 // (2 ** data[24] - 1)  # bit depth of IHDR; Pillow spreads 2 and 4 bits over 0 to 255
    try:
        ids = np.asarray(image, dtype=np.uint8)
    except Exception as error:  # noqa: BLE001
        raise BadImage(f"{source}: corrupt or truncated ({error})") from None
    return ids // np.uint8(scale)


def _tiff_scale(image: Image.Image, source: str, mend: str) -> int:
    """What Pillow multiplied the values of a TIFF mask by."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, compression, photometric, sample = (
        tags.get(tag, default) for tag, default in ((258, (1,)), (259, 1), (262, 1), (339, (1,)))
    )
    if compression not in _EXACT_TIFF:
        raise BadImage(f"{source}: is a TIFF whose compression ({compression}) does not keep class ids; {mend}")
    if photometric == 0 or sample[0] != 1:
        raise BadImage(f"{source}: is a TIFF in which white is 0, or values are signed; {mend}")
    return 255 // (2 ** bits[0] - 1) if image.mode == "L" else 1


def check_mask(mask: NDArray[np.uint8], size: tuple[int, int], classes: dict[str, int], source: str) -> None:
    """Check a mask against its image's size (width, height) and the declared class ids; `VOID` is always allowed.

    Raises:
        BadImage: another size, or ids that `classes` does not declare.
    """
    if (mask.shape[1], mask.shape[0]) != size:
        raise BadImage(
            f"{source}: the mask is {mask.shape[1]}×{mask.shape[0]} but its (upright) image is {size[0]}×{size[1]}"
        )
    unknown = np.setdiff1d(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)), [*classes.values(), VOID])
    if unknown.size:
        raise BadImage(f"{source}: class ids {unknown.tolist()} are not declared among the data set's classes")


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """Lossless PNG bytes of an (H, W) or (H, W, 3) uint8 array."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
