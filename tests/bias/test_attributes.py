"""Parts' attributes against known colours and shapes, and columns against what stands in them."""

from dataclasses import replace

import numpy as np
import pytest
from node_data import make_node_data

from heml.bias import attributes as A
from heml.errors import HemlError
from heml.images.canvas import load_canvases
from heml.images.shards import Description, ImageRecord, write_images
from heml.params import Bias
from heml.segments.manifest import read_manifest


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    made = make_node_data(tmp_path_factory.mktemp("run"), n=96, absent_every=3)
    return (
        load_canvases(made.run.canvases),
        {name: read_manifest(made.run.segments, name) for name in ("left", "right")},
        made.run.images,
    )


def test_cielab_is_the_standards():
    pixels = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    expected = [(100, 0, 0), (0, 0, 0), (53.24, 80.09, 67.20), (32.30, 79.19, -107.86)]
    np.testing.assert_allclose(A.to_lab(pixels), expected, atol=0.03)


def test_colour_is_found_without_labels_and_named(data):
    canvases, partitions, _ = data
    found = {a.kind: a for a in A.part_attributes("left", partitions["left"], canvases, 6)}
    assert set(found) == {"colour"}  # it is always there, and of one shape
    colour = found["colour"]
    assert sorted(colour.groups) == ["blue", "red"]
    expected = [["red", "blue"][label] for label in canvases.labels]
    assert [colour.groups[v] for v in colour.values] == expected
    for group, rows in zip(colour.groups, colour.typical, strict=True):
        assert {expected[row] for row in rows} == {group}
        assert {canvases.splits[row] for row in rows} == {"train"}


def test_presence_is_an_attribute_and_absent_images_have_no_look(data):
    canvases, partitions, _ = data
    found = {a.kind: a for a in A.part_attributes("right", partitions["right"], canvases, 6)}
    absent = np.arange(len(canvases.labels)) % 3 == 0
    few = replace(partitions["right"], splits=np.where(np.arange(96) < 40, "train", "test"))
    assert "presence" not in {a.kind for a in A.part_attributes("right", few, canvases, 6)}
    if "presence" in found:
        np.testing.assert_array_equal(found["presence"].values, (~absent).astype(int))
    np.testing.assert_array_equal(found["colour"].values < 0, absent)


def test_shape_is_area_proportions_and_fill():
    mask = np.zeros((20, 20), bool)
    mask[2:6, 3:11] = True
    np.testing.assert_allclose(A.shape(mask), (np.log(32), np.log(2), 1))
    mask[2:4, 3:7] = False
    np.testing.assert_allclose(A.shape(mask), (np.log(24), np.log(2), 0.75))


def test_rare_groups_are_joined():
    rng = np.random.default_rng(0)
    rows = np.arange(200)
    values = np.repeat([0, 1, 2, 3], [120, 70, 6, 4])
    x, centres = values[:, None] + rng.normal(0, 0.01, (200, 1)), np.arange(4.0)[:, None]
    found = A._grouped("part", "colour", ["a", "b", "c", "d"], rows, x, values, centres, np.ones(200, bool))
    assert found.groups == ["a", "b", "other"]
    assert np.bincount(found.values).tolist() == [120, 70, 10]


def test_columns_are_taken_as_they_are_numbers_in_thirds_and_names_not_at_all(tmp_path):
    n = 90
    train = np.arange(n) < 60
    records = [
        ImageRecord(f"i{k:02d}", "train" if train[k] else "test", k % 2, b"x", "x.png", None,
                    {"camera": "ab"[k % 2] if k % 9 else "", "age": str(k), "file": f"f{k}", "kind": str(k % 2)})
        for k in range(n)
    ]  # fmt: skip
    write_images(tmp_path / "images", records, Description("t", "kind", ["0", "1"]), ["camera", "age", "file", "kind"])
    found = {a.part: a for a in A.column_attributes(tmp_path / "images", train, Bias())}
    assert set(found) == {"camera", "age"}
    assert found["camera"].values.tolist() == [
        -1 if k % 9 == 0 else found["camera"].groups.index("ab"[k % 2]) for k in range(n)
    ]
    assert np.bincount(found["age"].values[train]).tolist() == [20, 20, 20]
    with pytest.raises(HemlError, match="bias.columns: 'lens' is no column of the data set; it has camera, age, file"):
        list(A.column_attributes(tmp_path / "images", train, Bias(columns=["lens"])))
