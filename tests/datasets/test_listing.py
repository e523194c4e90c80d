"""What lies in a folder: images, junk, other things, and what is never followed."""

import os
import unicodedata

import pytest

from heml.datasets.listing import list_images, meant, some
from heml.errors import HemlError


@pytest.fixture
def root(tmp_path):
    (tmp_path / "set" / "images").mkdir(parents=True)
    return tmp_path / "set"


def test_endings_in_any_case_are_images_and_what_systems_leave_behind_is_not(root):
    for name in (
        "a.PNG",
        "b.JpEg",
        "c.bmp",
        "d.TIF",
        "e.webp",
        ".f.png",
        "._a.png",
        "Thumbs.db",
        "desktop.ini",
        "notes.txt",
        "a.png~",
    ):
        (root / "images" / name).write_bytes(b"x")
    for name in ("__MACOSX", "sub"):
        (root / "images" / name).mkdir()
    found = list_images(root / "images", root)
    assert sorted(found.files) == ["a", "b", "c", "d", "e"]
    assert found.others == ["a.png~", "notes.txt", "sub/"]


def test_names_are_composed(root):
    (root / "images" / unicodedata.normalize("NFD", "Zoé.png")).write_bytes(b"x")
    assert list(list_images(root / "images", root).files) == [unicodedata.normalize("NFC", "Zoé")]


def test_links_and_things_that_are_no_file(root, tmp_path):
    inside, outside = root / "real.png", tmp_path / "outside.png"
    for path in (inside, outside):
        path.write_bytes(b"x")
    link = root / "images" / "a.png"
    link.symlink_to(inside)
    assert list(list_images(root / "images", root).files) == ["a"]
    alias = tmp_path / "alias"
    alias.symlink_to(root)
    assert list(list_images(alias / "images", alias).files) == ["a"]  # the data set as a whole may be a link
    for target, said in (
        (outside, "link out of"),
        (root / "nowhere", "leads to no file"),
        (link, "leads to no file"),
        ("/dev/zero", "is no file"),
    ):
        link.unlink()
        link.symlink_to(target)
        with pytest.raises(HemlError, match=rf"a\.png: .*{said}"):
            list_images(root / "images", root)
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(HemlError, match=r"a\.png: is no file \(a folder, pipe or device\)"):
        list_images(root / "images", root)
    link.unlink()
    link.mkdir()
    with pytest.raises(HemlError, match="is no file"):
        list_images(root / "images", root)


def test_a_folder_that_is_itself_a_link_is_refused(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (root / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HemlError, match=r"masks: is a link, and what lies behind it would not be watched"):
        list_images(root / "masks", root)


def test_what_a_name_means_is_suggested():
    known = ["000", "001", "Zoé_1"]
    assert meant("000.png", known) == "; ids have no ending: write '000'"
    assert meant("1", known) == "; zeros at its front were lost: '001' is there"
    assert meant("Zoe_1", known) == "; the nearest name there is 'Zoé_1'"
    assert meant("xyz!", known) == ""
    assert some(["b", "a"]) == "2 (a, b)"
    assert some([str(k) for k in range(9)]) == "9 (0, 1, 2, 3, 4, …)"


def test_images_in_sub_folders_are_told(root):
    (root / "images" / "a").mkdir()
    with pytest.raises(HemlError, match=r"images: holds no image, only 1 \(a/\); images must lie directly in it"):
        list_images(root / "images", root)
