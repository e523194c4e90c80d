"""Every kind of image a folder may hold, and every kind of broken one."""

import io

import numpy as np
import pytest
from PIL import Image

from heml.images.decoding import BadImage, check_mask, decode_image, decode_mask, encode_png


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
