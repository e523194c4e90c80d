"""The folder adapter: what it accepts, and one clear error for each thing it does not."""

import unicodedata
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from heml.datasets.folder import folder
from heml.errors import HemlError
from heml.images.decoding import ORIENTATION, decode_image, decode_mask, turned
from heml.images.shards import read_description, read_rows, write_images
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
        (lambda t: t.replace("n7,test", "n7"), "line 9: has 3 values, and the header 4"),
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


def people(root, splits=None, n=48):
    """labels.csv of 12 people, `p0` to `p11`, in turn; `splits`: of each person."""
    lines = ["image_id,kind" + (",split" if splits else "")]
    lines += [f"{i:03d},p{i % 12}" + (f",{splits[i % 12]}" if splits else "") for i in range(n)]
    (root / "labels.csv").write_text("\n".join(lines) + "\n")


def test_by_label_no_label_is_in_two_splits(make_folder):
    root = make_folder(n=48, splits=False)
    people(root)
    records, description, _ = load(root, split_by="label")
    where = {split: {r.label for r in records if r.split == split} for split in ("train", "val", "test")}
    assert {split: len(own) for split, own in where.items()} == {"train": 7, "val": 2, "test": 3}
    assert set.union(*where.values()) == set(range(12))
    assert description.label_names[:3] == ["p0", "p1", "p10"]
    text = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text("\n".join([text[0], *reversed(text[1:])]) + "\n")
    assert [r.split for r in load(root, split_by="label")[0]] == [r.split for r in records]
    people(root, n=37)  # p1 to p11 have three images, p0 four
    (root / "labels.csv").write_text((root / "labels.csv").read_text() + "040,alone\n")
    assert "alone" in load(root, split_by="label")[1].label_names


def test_by_label_a_data_sets_own_splits_may_not_share_a_label(make_folder):
    root = make_folder(n=48)
    own = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    people(root, own)
    assert {r.split for r in load(root, split_by="label")[0] if r.label == 2} == {"test"}  # p10
    (root / "labels.csv").write_text((root / "labels.csv").read_text().replace("012,p0,train", "012,p0,test"))
    with pytest.raises(HemlError, match=r"dataset\.split_by: label: kind 'p0' is in train and in test"):
        load(root, split_by="label")
    people(root, own)
    with pytest.raises(HemlError, match="set dataset.split_by: label"):
        load(root)


def test_by_label_skipping_may_not_leave_a_split_one_label(make_folder):
    root = make_folder(n=24)
    people(root, ["train"] * 8 + ["val"] * 2 + ["test"] * 2, n=24)
    (root / "images" / "009.png").write_bytes(b"")
    with pytest.raises(HemlError, match=r"split 'val' has 1 label\(s\) with two or more images"):
        load(root, split_by="label", on_bad_image="skip")


def rewrite(root, change):
    path = root / "labels.csv"
    path.write_text(change(path.read_text("utf-8")), "utf-8")


@pytest.mark.parametrize("header", ["Split", " split", "split ", "SPLIT"])
def test_the_split_column_is_known_whatever_its_case_and_blanks(make_folder, header):
    root = make_folder()
    own = {r.image_id: r.split for r in load(root)[0]}
    rewrite(
        root,
        lambda t: (
            t.replace(",split", f",{header}", 1)
            .replace("image_id", "\ufeff Image_ID", 1)
            .replace(",kind", ", Kind ", 1)
        ),
    )
    records, description, extra = load(root)
    assert {r.image_id: r.split for r in records} == own
    assert extra == ["kind", "note"]
    assert description.notes[0].startswith("splits: as ")
    assert load(make_folder(n=40, splits=False, name="drawn"))[1].notes[0].startswith("splits: drawn here (train 0.6")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace("note", "Kind ", 1), "has the column 'kind' 2 times"),
        (
            lambda t: t.replace("004,blue", "004,N/A"),
            r"line 6: image '004' has no 'kind', which is 'N/A', a usual mark",
        ),
        (lambda t: t.replace("004,blue", "004,Blue"), r"image '004'.* 'Blue', and 'blue' at .*'000'"),
        (lambda t: t.replace("005,", "005.png,"), r"images/005\.png: no such image.*ids have no ending: write '005'"),
        (lambda t: t.replace("005,", "5,"), r"images/5: no such image.*zeros at its front were lost: '005'"),
        (lambda t: t.replace(",", ";"), "no column 'image_id'.*semicolons"),
    ],
)
def test_a_table_that_means_something_else_is_told_so(make_folder, change, said):
    root = make_folder()
    rewrite(root, change)
    with pytest.raises(HemlError, match=said):
        load(root)


def test_blanks_and_composed_or_decomposed_names_do_not_matter(make_folder):
    root = make_folder()
    for kind in ("images", "masks"):
        (root / kind / "003.png").rename(root / kind / unicodedata.normalize("NFD", "Zoé.png"))
    rewrite(root, lambda t: t.replace("003,red", unicodedata.normalize("NFC", " Zoé , red "), 1))
    records, description, _ = load(root)
    assert next(r for r in records if r.image_id == unicodedata.normalize("NFC", "Zoé")).mask is not None
    assert description.label_names == ["blue", "red"]


def test_what_is_left_out_is_counted_and_named(make_folder):
    root = make_folder()
    rewrite(root, lambda t: "\n".join(t.splitlines()[:-2]) + "\n")
    (root / "images" / "readme.txt").write_text("x")
    (root / "masks" / "sub").mkdir()
    (root / "masks" / "gone.png").write_bytes(b"x")
    told = "\n".join(load(root)[1].notes)
    assert "images: 1 (readme.txt) left out" in told
    assert "masks: 1 (sub/) left out" in told
    assert "labels.csv: does not list 2 (018, 019) of the images" in told
    assert "masks: 1 (gone) left out: masks of no image" in told


def test_masks_may_have_any_exact_form_and_are_stored_as_their_ids(make_folder):
    root, plain = make_folder(), make_folder(name="plain")
    for k, path in enumerate(sorted((root / "masks").iterdir())):
        ids = Image.open(path)
        if k % 3 == 0:
            ids.save(path.with_suffix(".PNG"))
            path.unlink()
        elif k % 3 == 1:
            ids.save(path.with_suffix(".tif"), compression="tiff_lzw")
            path.unlink()
    ours, theirs = load(root)[0], load(plain)[0]
    for a, b in zip(ours, theirs, strict=True):
        assert decode_mask(a.mask, "a").tolist() == decode_mask(b.mask, "b").tolist()
        assert a.mask.startswith(b"\x89PNG")


def test_void_is_no_class_under_any_name_and_255_in_the_stored_masks(make_folder):
    root = make_folder()
    (root / "classes.json").write_text('{"background": 0, "square": 1, "Unlabeled": 2}')
    path = root / "masks" / "005.png"
    ids = np.array(Image.open(path))
    ids[0, :4] = 255
    Image.fromarray(ids).save(path)
    records, description, _ = load(root)
    assert description.classes == {"background": 0, "square": 1}
    stored = decode_mask(records[5].mask, "m")
    assert stored.tolist() == np.where(ids == 2, 255, ids).tolist()
    with pytest.raises(HemlError, match=r"rule.classes: unknown Unlabeled; the masks have background, square"):
        load(root, rule={"classes": ["Unlabeled"]})


@pytest.mark.parametrize("how", [2, 3, 6])
def test_masks_over_images_that_exif_turns_are_asked_about(make_folder, how):
    root = make_folder()
    image = Image.open(root / "images" / "005.png")
    exif = Image.Exif()
    exif[ORIENTATION] = how
    image.save(root / "images" / "005.png", exif=exif)
    for skip in ("error", "skip"):
        with pytest.raises(
            HemlError,
            match=rf"005\.png: is turned by EXIF \(orientation {how}\) and has a mask.*dataset\.masks: upright",
        ):
            load(root, on_bad_image=skip)
    written = np.array(Image.open(root / "masks" / "005.png"))
    stored = decode_mask(load(root, masks="stored")[0][5].mask, "m")
    assert stored.tolist() == turned(written, how).tolist()
    shown = np.asarray(decode_image((root / "images" / "005.png").read_bytes(), "i")).astype(int)
    assert (shown[stored == 1] == (220, 40, 40)).all()
    if how == 6:
        with pytest.raises(HemlError, match=r"the mask is 48×40 but its \(upright\) image is 40×48"):
            load(root, masks="upright")
    else:
        assert decode_mask(load(root, masks="upright")[0][5].mask, "m").tolist() == written.tolist()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"background": 0, "square": 1, "square": 2}', "names 'square' twice"),
        ('{"background": false, "square": true, "dot": 2}', "background: False is no id"),
        ('{"background": 0, "square": 1, "dot": 255}', "'dot' has the id 255, which means no class"),
        ('{"0": "background", "1": "square"}', "expected class name"),
    ],
)
def test_classes_that_cannot_be_meant_are_named(make_folder, content, said):
    root = make_folder()
    (root / "classes.json").write_text(content)
    with pytest.raises(HemlError, match=rf"classes\.json: .*{said}"):
        load(root)


def test_three_images_of_each_of_twenty_labels_are_enough(make_folder):
    root = make_folder(n=60, splits=False)
    rows = ["image_id,kind"] + [f"{i:03d},id{i // 3:02d}" for i in range(60)]
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    counts = Counter((r.split, r.label) for r in load(root)[0])
    assert all(counts["train", label] == 2 for label in range(20))
