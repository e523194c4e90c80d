"""The segment manifest: what is in a row, who can read it, and what is refused."""

import json

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import ndimage

from heml.errors import HemlError
from heml.images.decoding import encode_png
from heml.images.shards import Description, ImageRecord, write_images
from heml.params import Canvas, Segment, Size
from heml.run import Run
from heml.segmentation.segment import segment_images, write_mask_segmenter
from heml.segments.labelmaps import LabelMap, read_labelmaps, write_labelmaps
from heml.segments.manifest import cut_segment, read_manifest, write_manifest
from heml.segments.masks import unpack_mask

CANVAS = Canvas(height=32, width=32)


@pytest.fixture
def stored(tmp_path):
    """Six images of 64×64; class 1 is a square that the last two lack, class 2 a dot that no training image has."""
    maps, records = [], []
    for i in range(6):
        labels = np.zeros((64, 64), np.uint8)
        if i < 4:
            labels[16:32, 8 : 40 + 2 * i] = 1
        if i == 5:
            labels[50:60, 50:60] = 2
        confidence = np.full((64, 64), 51 * (i + 1) % 256, np.uint8)
        maps.append(LabelMap(f"i{i}", 64, 64, labels, confidence))
        split = ("train", "train", "val", "test", "train", "test")[i]
        records.append(ImageRecord(f"i{i}", split, i % 2, encode_png(np.zeros((64, 64, 3), np.uint8)), "x.png"))
    run = Run(tmp_path)
    write_images(run.images, records, Description("t", "y", ["a", "b"]))
    write_labelmaps(run.labelmaps, maps, {"background": 0, "square": 1, "dot": 2})
    return run


def write(run, name="square", **options):
    return write_manifest(name, Segment(classes=[name], **options), CANVAS, run)


def test_every_image_has_a_row_and_pandas_reads_the_whole_as_one_table(stored):
    assert write(stored) == pytest.approx(4 / 6)
    table = pd.read_parquet(stored.segments)
    assert table["image_id"].tolist() == [f"i{i}" for i in range(6)]
    assert table["segment"].unique().tolist() == ["square"]
    assert table["present"].tolist() == [True] * 4 + [False] * 2
    assert table.loc[0, "bbox"].tolist() == [4, 8, 20, 16]
    assert table.loc[0, "area"] == pytest.approx(16 * 8 / 32**2)
    assert table.loc[1, "confidence"] == pytest.approx(102 / 255)
    gone = table.loc[5]
    assert gone["mask"] is None
    assert gone["area"] == 0
    assert pd.isna(gone["confidence"])
    types = {f.name: str(f.type) for f in pq.read_schema(stored.segment("square") / "part-0.parquet")}
    assert types["area"] == "float"
    assert (types["bbox"].startswith("fixed_size_list<") and types["bbox"].endswith("int16>[4]")) or "int16" in types[
        "bbox"
    ]


def test_duckdb_reads_it_and_a_row_unpacks_to_its_mask(stored):
    write(stored)
    path = stored.segments / "*" / "*.parquet"
    rows = duckdb.sql(
        f"select image_id, area, mask from read_parquet('{path}', hive_partitioning=true) where present and"
        " split='train'"
    )
    found = {image_id: (area, mask) for image_id, area, mask in rows.fetchall()}
    assert set(found) == {"i0", "i1"}
    metadata = json.loads(pq.read_schema(next(stored.segments.glob("*/*.parquet"))).metadata[b"heml"])
    assert metadata["bit_order"] == "big"
    for area, data in found.values():
        assert unpack_mask(data, metadata["mask_shape"]).mean() == pytest.approx(area)
    expected = np.zeros((32, 32), bool)
    expected[8:16, 4:20] = True
    partition = read_manifest(stored.segments, "square")
    assert (partition.mask(partition.image_ids.index("i0")) == expected).all()


def test_dilation_is_scipys_and_stays_inside_the_image():
    labels = np.zeros((20, 40), np.uint8)
    labels[0:6, 10:20] = 1
    labelmap = LabelMap("x", 40, 20, labels, None)
    canvas = Canvas(height=40, width=40)  # the image lies on rows 10 to 30
    plain = unpack_mask(cut_segment(labelmap, [1], Segment(classes=["a"]), canvas)["mask"], (40, 40))
    row = cut_segment(labelmap, [1], Segment(classes=["a"], dilate=3), canvas)
    oracle = ndimage.binary_dilation(plain, np.ones((7, 7)))
    oracle[:10] = False
    assert (unpack_mask(row["mask"], (40, 40)) == oracle).all()
    assert row["confidence"] == 1
    assert row["bbox"] == [7, 10, 23, 19]


def test_too_small_is_absent(stored):
    labelmap = next(iter(read_labelmaps(stored.labelmaps)))
    assert cut_segment(labelmap, [1], Segment(classes=["square"], min_area=0.2), CANVAS)["present"] is False


def test_a_segment_in_no_training_image_or_of_an_unknown_class_is_named_and_leaves_nothing(stored):
    with pytest.raises(HemlError, match=r"segments\.dot: present in no training image"):
        write(stored, "dot")
    with pytest.raises(
        HemlError, match=r"segments\.hat\.classes: unknown hat; the segmenter has background, square, dot"
    ):
        write(stored, "hat")
    assert not list(stored.segments.glob("*")) or not list(stored.segments.glob("*/*"))


def test_other_images_than_label_maps_are_refused(stored):
    maps = list(read_labelmaps(stored.labelmaps))
    write_labelmaps(stored.labelmaps, reversed(maps), {"background": 0, "square": 1, "dot": 2})
    with pytest.raises(HemlError, match="holds 'i5' where 'i0' is due"):
        write(stored)


def test_equal_inputs_give_equal_bytes(stored):
    write(stored)
    path = stored.segment("square") / "part-0.parquet"
    first = path.read_bytes()
    write(stored)
    assert path.read_bytes() == first
    assert read_manifest(stored.segments, "square").definition == Segment(classes=["square"])


def test_masks_as_segmenter_take_the_masks_and_refuse_an_image_without(tmp_path):
    mask = np.zeros((30, 50), np.uint8)
    mask[5:20, 10:30] = 1
    picture = encode_png(np.zeros((30, 50, 3), np.uint8))
    splits = ("train", "val", "test")
    records = [ImageRecord(f"i{k}", s, 0, picture, "x.png", encode_png(mask)) for k, s in enumerate(splits)]
    run = Run(tmp_path)
    write_images(run.images, records, Description("t", "y", ["a"], {"background": 0, "square": 1}))
    write_mask_segmenter(run.segmenter, {"background": 0, "square": 1, "dot": 2})
    segment_images(Size(height=128, width=128), 4, run)
    first = next(iter(read_labelmaps(run.labelmaps)))
    assert (first.labels == mask).all()
    assert (first.width, first.height) == (50, 30)
    records[1] = ImageRecord("i1", "val", 0, picture, "x.png")
    write_images(run.images, records, Description("t", "y", ["a"], {"background": 0, "square": 1}))
    with pytest.raises(HemlError, match="image 'i1' has no mask"):
        segment_images(Size(height=128, width=128), 4, run)
    with pytest.raises(HemlError, match="has no masks"):
        write_mask_segmenter(run.segmenter, {})
