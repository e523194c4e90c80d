"""Every kind of image a folder may hold, and every kind of broken one."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from heml.images.decoding import (
    ORIENTATION,
    BadImage,
    check_mask,
    decode_image,
    decode_mask,
    encode_png,
    orientation,
    to_rgb,
    turned,
)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RED = Image.new("RGB", (6, 4), (200, 30, 30))


@pytest.mark.parametrize(
    "data",
    [
        encode(RED, "PNG"),
        encode(RED, "WEBP", lossless=True),
        encode(RED, "JPEG", quality=95),
        encode(RED.convert("CMYK"), "JPEG", quality=95),
        encode(RED.convert("RGBA"), "PNG"),
        encode(RED.quantize(), "PNG"),
    ],
)
def test_colour_survives_every_format_and_mode(data):
    image = decode_image(data, "x")
    assert image.mode == "RGB"
    assert image.size == (6, 4)
    assert np.abs(np.asarray(image).astype(int) - (200, 30, 30)).max() < 12


def test_greyscale_transparency_and_sixteen_bits():
    grey = decode_image(encode(Image.new("L", (3, 3), 77), "PNG"), "x")
    assert np.asarray(grey).tolist() == [[[77] * 3] * 3] * 3
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert (np.asarray(decode_image(encode(clear, "PNG"), "x")) == 255).all()
    wide = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert np.asarray(decode_image(encode(wide, "PNG"), "x"))[0, :, 0].tolist() == [0, 255]


def test_exif_rotation_turns_the_image_upright():
    image = Image.new("RGB", (8, 4))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that a viewer turns it by 90° clockwise
    upright = decode_image(encode(image, "PNG", exif=exif), "x")
    assert upright.size == (4, 8)
    assert upright.getpixel((3, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (b"GIF89a" + b"0" * 50, "not a readable"),
        (b"<svg onload='x'/>", "not a readable"),
        (encode(Image.effect_noise((64, 64), 50), "JPEG")[:-400], "truncated"),
        (encode(Image.effect_noise((64, 64), 50), "PNG")[:-900], "truncated"),
    ],
)
def test_a_bad_image_is_named(data, said):
    with pytest.raises(BadImage, match=rf"photo\.jpg.*{said}"):
        decode_image(data, "photo.jpg")


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(BadImage, match="400 megapixels, above dataset.max_megapixels"):
        decode_image(bomb, "bomb.png")


def test_masks_keep_their_ids_and_are_checked():
    ids = np.array([[0, 1], [2, 1]], np.uint8)
    palette = Image.fromarray(ids)
    palette = palette.convert("P")
    palette.putdata(ids.ravel().tolist())
    for data in (encode_png(ids), encode(palette, "PNG")):
        assert decode_mask(data, "m").tolist() == ids.tolist()
    classes = {"background": 0, "hair": 1}
    with pytest.raises(BadImage, match=r"m\.png: class ids \[2\] are not declared"):
        check_mask(ids, (2, 2), classes, "m.png")
    with pytest.raises(BadImage, match="2×2 but its .upright. image is 3×2"):
        check_mask(ids, (3, 2), classes, "m.png")
    with pytest.raises(BadImage, match="not mode RGB"):
        decode_mask(encode(RED, "PNG"), "m.png")


def png_of(values: np.ndarray, bits: int, colour: int = 0, palette: int = 0) -> bytes:
    """A PNG written by hand: so many bits per value, colour type 0 (grey) or 3 (palette of so many entries)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = values.shape
    spread = ((values[..., None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(height, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in spread)
    table = chunk(b"PLTE", bytes(range(3 * palette))) if palette else b""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + table
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def ids_of(bits: int) -> np.ndarray:
    return np.random.default_rng(bits).integers(0, 2**bits, (5, 7))


def paletted(values: np.ndarray) -> Image.Image:
    image = Image.new("P", values.shape[::-1])
    image.putdata(values.ravel().tolist())
    image.putpalette([(7 * k) % 256 for k in range(768)])
    return image


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("colour", [0, 3])
def test_a_png_mask_of_any_depth_gives_the_values_that_were_written(bits, colour):
    values = ids_of(bits)
    assert (
        decode_mask(png_of(values, bits, colour, palette=3 * colour and 2 ** min(bits, 6)), "m").tolist()
        == values.tolist()
    )


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_bmp_and_tiff_masks_give_the_values_that_were_written(kind):
    grey, two = ids_of(8).astype(np.uint8), ids_of(1).astype(bool)
    for image, values in ((Image.fromarray(grey), grey), (paletted(grey), grey), (Image.fromarray(two), two)):
        for options in (
            ({"compression": c} for c in ("raw", "tiff_lzw", "tiff_deflate", "packbits")) if kind == "TIFF" else ({},)
        ):
            assert decode_mask(encode(image, kind, **options), "m").tolist() == values.astype(int).tolist()


SIDE = Image.fromarray(ids_of(2).astype(np.uint8))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (encode(SIDE, "JPEG"), "is JPEG, which does not keep class ids; save"),
        (encode(SIDE.convert("RGB"), "WEBP", lossless=True), "is WEBP, which does not keep"),
        (encode(SIDE, "TIFF", compression="jpeg"), r"TIFF whose compression \(7\) does not keep"),
        (encode(Image.fromarray(np.ones((4, 4), np.uint16)), "PNG"), "not mode I;16"),
        (encode(Image.fromarray(np.ones((4, 4), np.int32)), "TIFF"), "not mode I; save"),
        (encode(SIDE.convert("LA"), "PNG"), "not mode LA"),
        (encode(SIDE.convert("RGBA"), "PNG"), "not mode RGBA"),
        (encode(SIDE, "TIFF", tiffinfo={262: 0}), "white is 0"),
        (
            encode(SIDE, "PNG", exif=(lambda e: (e.__setitem__(ORIENTATION, 6), e)[1])(Image.Exif())),
            "itself is turned by EXIF",
        ),
        (encode(SIDE, "PNG", save_all=True, append_images=[SIDE.point(lambda v: 3 - v)]), "holds 2 pictures"),
    ],
)
def test_a_mask_that_may_have_lost_its_ids_is_refused_with_the_way_to_mend_it(data, said):
    with pytest.raises(BadImage, match=said):
        decode_mask(data, "m.png")


@pytest.mark.parametrize("how", range(1, 9))
def test_a_mask_is_turned_as_its_image_is(how):
    pixels = np.random.default_rng(how).integers(0, 256, (4, 6), np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = how
    data = encode(Image.fromarray(pixels), "PNG", exif=exif)
    assert orientation(data) == how
    assert turned(pixels, how).tolist() == np.asarray(decode_image(data, "x"))[..., 0].tolist()


def test_sixteen_bits_of_grey_are_scaled_by_their_range_and_others_refused():
    dim = Image.fromarray(np.array([[0, 257 * 40, 257 * 80]], np.uint16))
    for kind in ("PNG", "TIFF"):
        assert np.asarray(decode_image(encode(dim, kind), "x"))[0, :, 0].tolist() == [0, 40, 80]
    for bad in (np.array([[0.5, 1.0]], np.float32), np.array([[1 << 20]], np.int32), np.array([[-1]], np.int32)):
        with pytest.raises(BadImage, match="have no known white"):
            decode_image(encode(Image.fromarray(bad), "TIFF"), "x.tif")


def test_a_file_and_the_same_file_as_an_opened_image_are_one_picture():
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    red = Image.new("RGBA", (6, 4), (200, 30, 30, 128))
    for data in (
        encode(red, "PNG", exif=exif),
        encode(red.quantize(), "PNG"),
        encode(Image.fromarray(np.full((3, 4), 9999, np.uint16)), "PNG"),
    ):
        opened = to_rgb(Image.open(io.BytesIO(data)), "opened")
        assert np.array_equal(np.asarray(opened), np.asarray(decode_image(data, "file")))
