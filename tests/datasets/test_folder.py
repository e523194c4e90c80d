"""The folder adapter: what it accepts, and one clear error for each thing it does not."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from heml.datasets.folder import folder
from heml.datasets.store import read_description, read_rows, write_images
from heml.errors import HemlError
from heml.params import FolderDataset


def load(root, **options):
    records, description, extra = folder(FolderDataset(name="folder", path=root, label="kind", **options))
    return list(records), description, extra


def test_a_folder_is_read_in_order_with_masks_and_extra_columns(make_folder, tmp_path):
    root = make_folder()
    records, description, extra = load(root)
    assert [r.image_id for r in records] == [f"{i:03d}" for i in range(20)]
    assert description.label_names == ["blue", "red"]
    assert [r.label for r in records[:4]] == [0, 1, 0, 1]
    assert extra == ["kind", "note"]
    assert records[3].image == (root / "images" / "003.png").read_bytes()
    write_images(tmp_path / "out", records, description, extra)
    rows = list(read_rows(tmp_path / "out", ["image_id", "mask", "note"]))
    assert rows[5]["note"] == "n5"
    assert rows[5]["mask"]["bytes"] == (root / "masks" / "005.png").read_bytes()
    assert read_description(tmp_path / "out") == description


def test_hugging_face_datasets_opens_the_shards(make_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf" / "datasets"))
    from datasets import Dataset

    root = make_folder(n=16)
    write_images(tmp_path / "out", *load(root))
    data = Dataset.from_parquet(str(tmp_path / "out" / "*.parquet"), cache_dir=str(tmp_path / "cache"))
    assert data[1]["image"].size == (48, 40)
    assert np.asarray(data[1]["image"]).tolist() == np.asarray(Image.open(root / "images" / "001.png")).tolist()


def test_no_masks_and_no_split_column(make_folder):
    records, description, _ = load(make_folder(n=40, masks=False, splits=False))
    assert description.classes == {}
    assert all(r.mask is None for r in records)
    counts = Counter((r.split, r.label) for r in records)
    assert counts == {("train", 0): 12, ("train", 1): 12, ("val", 0): 3, ("val", 1): 3, ("test", 0): 5, ("test", 1): 5}
    again, _, _ = load(make_folder(n=40, masks=False, splits=False, name="again"))
    assert [r.split for r in again] == [r.split for r in records]


def test_an_id_that_points_elsewhere_finds_nothing(make_folder):
    root = make_folder()
    (root / "labels.csv").write_text((root / "labels.csv").read_text().replace("003,", "../masks/003,", 1))
    with pytest.raises(HemlError, match="no such image"):
        load(root)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace("kind", "sort"), "no column 'kind'; its columns are image_id, sort"),
        (lambda t: t.replace("004,blue", "004,"), r"line 6: image '004' has no 'kind'"),
        (lambda t: t.replace("004,blue", "004,green"), "class 'green' of 'kind' has one image"),
        (lambda t: t.replace("red", "blue"), r"constant \('blue' for every image\)"),
        (lambda t: t.replace("005,", "004,"), "image_id '004' is given twice"),
        (lambda t: t.replace("n7,test", "n7,tests"), r"line 9: split 'tests'"),
        (lambda t: t.replace("n7,test", "n7"), "line 9: has another number of values"),
        (lambda t: t.replace(",test", ",val"), "split 'test' has no images"),
        (lambda t: t + "099,red,n,train\n", r"099: no such image, but labels\.csv lists it"),
        (lambda t: t.splitlines()[0] + "\n", "lists no images"),
    ],
)
def test_a_mistake_in_labels_csv_is_named(make_folder, change, said):
    root = make_folder()
    (root / "labels.csv").write_text(change((root / "labels.csv").read_text()))
    with pytest.raises(HemlError, match=said):
        load(root)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("classes.json", b"{", "not valid JSON"),
        ("classes.json", b"[1]", "expected class name"),
        ("classes.json", b'{"a": 0, "b": 0}', "share an id"),
        ("classes.json", b'{"background": 0, "square": 1}', r"masks/\d+\.png: class ids \[2\] are not declared"),
        ("images/002.png", b"", r"002\.png: the file is empty"),
        ("images/002.png", b"junk", r"002\.png: not a readable"),
        ("images/002.jpg", b"junk", r"002\.png: 002\.jpg has the same image_id"),
        ("masks/002.png", b"junk", r"masks/002\.png: not a readable"),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_written(make_folder, tmp_path, name, data, said):
    root = make_folder()
    (root / name).write_bytes(data)
    with pytest.raises(HemlError, match=said):
        records, description, extra = folder(FolderDataset(name="folder", path=root, label="kind"))
        write_images(tmp_path / "out", records, description, extra)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*partial*"))


def test_bad_images_can_be_skipped_and_are_listed(make_folder, tmp_path):
    root = make_folder()
    (root / "images" / "002.png").write_bytes(b"")
    Image.new("L", (3, 3)).save(root / "masks" / "019.png")
    records, description, extra = folder(FolderDataset(name="folder", path=root, label="kind", on_bad_image="skip"))
    assert write_images(tmp_path / "out", records, description, extra) == 18
    skipped = read_description(tmp_path / "out").skipped
    assert [s["image_id"] for s in skipped] == ["002", "019"]
    assert "0 bytes" in skipped[0]["reason"]
    assert "3×3" in skipped[1]["reason"]


def test_skipping_may_not_empty_a_split(make_folder):
    root = make_folder(n=8)
    for i in (6, 7):
        (root / "images" / f"{i:03d}.png").write_bytes(b"")
    with pytest.raises(HemlError, match="split 'test' has no images"):
        load(root, on_bad_image="skip")
