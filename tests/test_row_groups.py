"""Row groups: made alone, in any order and by other processes, they are those of one pass."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from node_data import CANVAS, NodeData, linked, make_node_data

from heml.evaluation import embeddings
from heml.images import shards
from heml.images.parquet import Stored
from heml.learning.inputs import compose
from heml.learning.node import build_node
from heml.params import Segment, Size, Train
from heml.run import Run
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
def test_a_range_of_rows_is_pandas_slice_across_shards_and_groups(data, start, stop):
    files = sorted(data.run.images.glob("*.parquet"))
    assert len(files) == 3
    whole = pd.concat([pd.read_parquet(path) for path in files])
    found = [row["image_id"] for row in shards.read_rows(data.run.images, ["image_id"], start, stop)]
    assert found == whole["image_id"].tolist()[start:stop]
    path = data.run.segment("left") / "part-0.parquet"
    table = Stored(path, [("area", pa.float32())], "dvc repro").table(["image_id", "area"], start, stop)
    assert table.to_pandas().equals(pd.read_parquet(path)[["image_id", "area"]][start:stop].reset_index(drop=True))
    assert b"heml" in table.schema.metadata


def test_label_maps_and_manifest_are_the_same_bytes_wherever_their_groups_were_made(data, tmp_path):
    segment.write_mask_segmenter(data.run.segmenter, {"background": 0, "left": 1, "right": 2})
    here, there = data.run, Run(tmp_path / "there", models=data.run.models)
    there.data.mkdir(parents=True)
    there.images.symlink_to(here.images)
    for run, each in ((here, map), (there, elsewhere)):
        segment.segment_images(Size(height=32, width=32), 4, run, each)
        manifest.write_manifest("left", Segment(classes=["left"]), CANVAS, run, each)
    for folders, groups in (((here.labelmaps, there.labelmaps), 6), ((here.segment("left"), there.segment("left")), 4)):
        one, other = (folder / "part-0.parquet" for folder in folders)
        assert pq.ParquetFile(one).num_row_groups == groups
        assert one.read_bytes() == other.read_bytes()


def test_embeddings_are_the_same_bytes_and_those_of_one_group(data, tmp_path, monkeypatch):
    tree = Tree([Node("left", 0), Node("right", 0), Node("both", 1, "left", "right")])
    settings = Train(epochs=0, batch_size=8, per_class=4, hidden_dim=16, embedding_dim=8)
    for node in tree:
        build_node(node, settings, data.run)
    there, whole = (linked(data.run, tmp_path / name) for name in ("there", "whole"))
    embeddings.write_embeddings(tree, data.run)
    embeddings.write_embeddings(tree, there, elsewhere)
    monkeypatch.setattr(embeddings, "ROWS_PER_GROUP", 4096)
    embeddings.write_embeddings(tree, whole)
    for node in tree:
        first, second = (run.embeddings / f"node={node.name}" / "part-0.parquet" for run in (data.run, there))
        assert pq.ParquetFile(first).num_row_groups == 5
        assert first.read_bytes() == second.read_bytes()
        one, other = (embeddings.read_embeddings(run.embeddings, node.name) for run in (data.run, whole))
        assert one.image_ids == other.image_ids
        assert np.allclose(one.vectors, other.vectors, atol=1e-6, equal_nan=True)


def test_rows_of_a_trained_nodes_images_are_those_of_all(data):
    whole = compose(["left", "right"], data.run)
    part = compose(["left", "right"], data.run, whole.box, 17, 31)
    assert part.image_ids == whole.image_ids[17:31]
    assert np.array_equal(part.present, whole.present[17:31])
    for a, b in zip(part.batch(np.arange(14)), whole.batch(np.arange(17, 31)), strict=True):
        assert a.equal(b)
