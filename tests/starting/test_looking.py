"""What is seen in a folder, against a naive count."""

import numpy as np
import pytest
from PIL import Image

from heml.errors import HemlError
from heml.starting.looking import look, shape, sizes_in_words


def test_a_folder_with_masks(make_folder):
    root = make_folder(20)
    (root / "images" / "notes.txt").write_text("x")
    (root / "images" / "zz.png").write_bytes(b"no image")
    found = look(root)
    assert found.laid_out
    assert len(found.images) == 21
    assert (found.unreadable, found.others) == (["zz.png"], ["notes.txt"])
    assert found.sizes.tolist() == [[48, 40]] * 20
    assert found.unmasked == 1
    by_name = {part.name: part for part in found.parts}
    assert set(by_name) == {"background", "square", "dot"}
    assert by_name["square"].coverage.area == pytest.approx(400 / 1920)
    assert by_name["dot"].coverage.present == 0.75
    assert by_name["dot"].place.x == pytest.approx(37 / 48)
    assert by_name["dot"].place.y == pytest.approx(35 / 48)


def test_a_plain_folder(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
    sideways = Image.new("RGB", (30, 20))
    exif = sideways.getexif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "b.jpg", exif=exif)
    found = look(tmp_path)
    assert not found.laid_out
    assert found.sizes.tolist() == [[30, 20], [20, 30]]
    assert (found.turned, found.masks, found.parts) == (1, {}, [])
    assert sizes_in_words(found.sizes).startswith("20 to 30 pixels a side")


@pytest.mark.parametrize("stored", [True, False])
def test_how_masks_lie_over_turned_images_is_seen_by_their_size(make_folder, stored):
    root = make_folder(4)
    image = Image.open(root / "images" / "000.png").convert("RGB")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(root / "images" / "000.jpg", exif=exif)
    (root / "images" / "000.png").unlink()
    if not stored:
        Image.open(root / "masks" / "000.png").rotate(-90, expand=True).save(root / "masks" / "000.png")
    found = look(root)
    assert found.stored is stored
    assert found.turned == 1


def test_what_is_no_folder_of_photographs(tmp_path):
    with pytest.raises(HemlError, match="no such folder"):
        look(tmp_path / "none")
    with pytest.raises(HemlError, match="holds no image"):
        look(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(HemlError, match="none of its 1 images can be opened"):
        look(tmp_path)


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((256, 256), 64, (64, 64)),
        ((256, 384), 64, (96, 64)),
        ((384, 256), 128, (128, 192)),
        ((100, 900), 64, (128, 64)),
        ((640, 480), 64, (64, 96)),
    ],
)
def test_a_canvas_has_the_photographs_shape(size, short, expected):
    assert shape(np.array([size]), short) == expected
