"""Row groups: made alone, in any order and by other processes, they are those of one pass."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from node_data import CANVAS, NodeData, make_node_data

from heml.evaluation import embeddings
from heml.images import shards
from heml.images.parquet import Stored
from heml.learning.inputs import compose
from heml.learning.node import build_node
from heml.params import Segment, Size, Train
from heml.segmentation import segment
from heml.segments import labelmaps, manifest
from heml.tree import Node, Tree


def elsewhere(function, items):
    """`map` as a cluster does it: the last first, by a function that has been sent there."""
    sent = pickle.dumps(function)
    work = list(items)
    found = {k: pickle.loads(pickle.dumps(pickle.loads(sent)(work[k]))) for k in reversed(range(len(work)))}
    return iter(found[k] for k in range(len(work)))


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 20)
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 7)
    for module in (labelmaps, segment):
        monkeypatch.setattr(module, "ROWS_PER_GROUP", 9)
    monkeypatch.setattr(manifest, "ROWS_PER_GROUP", 13)
    monkeypatch.setattr(embeddings, "ROWS_PER_GROUP", 11)


@pytest.fixture
def data(small_groups, tmp_path: Path) -> NodeData:
    return make_node_data(tmp_path, absent_every=5)


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 48), (5, 6), (6, 29), (19, 41), (40, 99), (48, None), (60, 70)]
)
def test_a_range_of_rows_is_pandas_slice_across_shards_and_groups(data, tmp_path, start, stop):
    files = sorted((tmp_path / "images").glob("*.parquet"))
    assert len(files) == 3
    whole = pd.concat([pd.read_parquet(path) for path in files])
    found = [row["image_id"] for row in shards.read_rows(tmp_path / "images", ["image_id"], start, stop)]
    assert found == whole["image_id"].tolist()[start:stop]
    path = tmp_path / "segments" / "segment=left" / "part-0.parquet"
    table = Stored(path, [("area", pa.float32())], "dvc repro").table(["image_id", "area"], start, stop)
    assert table.to_pandas().equals(pd.read_parquet(path)[["image_id", "area"]][start:stop].reset_index(drop=True))
    assert b"heml" in table.schema.metadata


def test_label_maps_and_manifest_are_the_same_bytes_wherever_their_groups_were_made(data, tmp_path):
    segment.write_mask_segmenter(tmp_path / "segmenter", {"background": 0, "left": 1, "right": 2})
    for name, each in (("here", map), ("there", elsewhere)):
        root = tmp_path / name
        segment.segment_images(
            tmp_path / "images", tmp_path / "segmenter", root / "maps", Size(height=32, width=32), 4, each
        )
        manifest.write_manifest(
            tmp_path / "images", root / "maps", root / "left", "left", Segment(classes=["left"]), CANVAS, each
        )
    for name in ("maps", "left"):
        one, other = (tmp_path / place / name / "part-0.parquet" for place in ("here", "there"))
        assert pq.ParquetFile(one).num_row_groups == (6 if name == "maps" else 4)
        assert one.read_bytes() == other.read_bytes()


def test_embeddings_are_the_same_bytes_and_those_of_one_group(data, tmp_path, monkeypatch):
    tree = Tree([Node("left", 0), Node("right", 0), Node("both", 1, "left", "right")])
    settings = Train(epochs=0, batch_size=8, per_class=4, hidden_dim=16, embedding_dim=8)
    for node in tree:
        build_node(
            node, settings, data.canvases, data.segments, tmp_path / "nodes", tmp_path / "reports" / f"{node.name}.json"
        )
    embeddings.write_embeddings(tree, data.canvases, data.segments, tmp_path / "nodes", tmp_path / "here")
    embeddings.write_embeddings(tree, data.canvases, data.segments, tmp_path / "nodes", tmp_path / "there", elsewhere)
    monkeypatch.setattr(embeddings, "ROWS_PER_GROUP", 4096)
    embeddings.write_embeddings(tree, data.canvases, data.segments, tmp_path / "nodes", tmp_path / "whole")
    for node in tree:
        here, there = (tmp_path / place / f"node={node.name}" / "part-0.parquet" for place in ("here", "there"))
        assert pq.ParquetFile(here).num_row_groups == 5
        assert here.read_bytes() == there.read_bytes()
        one, other = (embeddings.read_embeddings(tmp_path / place, node.name) for place in ("here", "whole"))
        assert one.image_ids == other.image_ids
        assert np.allclose(one.vectors, other.vectors, atol=1e-6, equal_nan=True)


def test_rows_of_a_trained_nodes_images_are_those_of_all(data):
    whole = compose(data.canvases, data.segments, ["left", "right"])
    part = compose(data.canvases, data.segments, ["left", "right"], whole.box, 17, 31)
    assert part.image_ids == whole.image_ids[17:31]
    assert np.array_equal(part.present, whole.present[17:31])
    for a, b in zip(part.batch(np.arange(14)), whole.batch(np.arange(17, 31)), strict=True):
        assert a.equal(b)
