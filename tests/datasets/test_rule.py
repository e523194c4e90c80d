"""Labels read off the images of a folder: by masks, by a network, without a labels.csv."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from heml.datasets.folder import folder
from heml.errors import HemlError
from heml.params import FolderDataset


def dataset(root, **changes):
    rule = {"classes": ["dot"], "area": 0.01}
    return FolderDataset(**({"name": "folder", "path": root, "label": "dotted", "rule": rule} | changes))


def test_masks_say_the_label_and_no_labels_csv_is_needed(make_folder):
    root = make_folder(n=40)
    (root / "labels.csv").unlink()
    records, description, extra = folder(dataset(root))
    records = list(records)
    assert description.label == "dotted"
    assert description.label_names == ["no dotted", "dotted"]
    assert extra == []
    for r in records:
        mask = np.asarray(Image.open(root / "masks" / f"{r.image_id}.png"))
        assert r.label == int((mask == 2).sum() / mask.size >= 0.01)
    assert Counter(r.split for r in records) == {"train": 24, "val": 6, "test": 10}


def test_a_labels_csv_keeps_its_splits_and_columns(make_folder):
    root = make_folder()
    records, _, extra = folder(dataset(root))
    records = list(records)
    assert extra == ["kind", "note"]
    assert records[3].extra == {"kind": "red", "note": "n3"}
    assert [r.split for r in records[:8]] == ["train", "train", "train", "train", "val", "val", "test", "test"]


def test_several_classes_are_added_up(make_folder):
    root = make_folder()
    areas = {}
    for path in (root / "masks").iterdir():
        areas[path.stem] = float((np.asarray(Image.open(path)) > 0).mean())
    between = float(np.mean(sorted(set(areas.values()))))
    records, _, _ = folder(dataset(root, rule={"classes": ["dot", "square"], "area": between}))
    assert {r.image_id: r.label for r in records} == {i: int(a >= between) for i, a in areas.items()}


def test_a_network_is_asked_once_per_image(make_folder):
    root = make_folder(masks=False)
    (root / "labels.csv").unlink()
    asked = []

    def areas(images):
        for image_id, _ in images:
            asked.append(image_id)
            yield image_id, int(image_id) / 20

    rule = {"classes": ["hat"], "area": 0.5, "model": "a/b", "revision": "c" * 40}
    records, _, _ = folder(dataset(root, rule=rule), areas)
    assert [r.label for r in records] == [0] * 10 + [1] * 10
    assert asked == [f"{i:03d}" for i in range(20)]


def test_what_a_rule_cannot_read_is_named(make_folder):
    root = make_folder()
    with pytest.raises(HemlError, match=r"dataset\.rule\.classes: unknown hat; the masks have background, square, dot"):
        folder(dataset(root, rule={"classes": ["hat"]}))
    with pytest.raises(
        HemlError, match=r"every image has square on 0\.0001 of its pixels \(least 0\.208, median 0\.208, most 0\.208\)"
    ):
        folder(dataset(root, rule={"classes": ["square"], "area": 0.0001}))
    (root / "masks" / "004.png").unlink()
    with pytest.raises(HemlError, match=r"004\.png: has no mask for dataset\.rule to read"):
        folder(dataset(root))
    records, description, _ = folder(dataset(root, on_bad_image="skip"))
    assert len(list(records)) == 19
    assert description.skipped[0]["image_id"] == "004"
    bare = make_folder(masks=False, name="bare")
    with pytest.raises(HemlError, match="has no masks to read; name a SegFormer"):
        folder(dataset(bare))
