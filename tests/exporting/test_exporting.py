"""Exports, opened by the tools that they are for."""

import json

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, load_dataset
from PIL import Image

from heml.errors import HemlError
from heml.exporting import onnx_file
from heml.exporting.arrays import write_numpy, write_projector
from heml.exporting.hub_folder import write_hub_folder
from heml.exporting.onnx_file import write_onnx
from heml.learning.inputs import compose
from heml.run import Run

NAMES = ["red", "blue"]


def test_numpy_arrays_are_the_stored_embeddings(metric, tmp_path):
    write_numpy(metric.gallery, ["left", "right"], NAMES, tmp_path / "out")
    index = pd.read_csv(tmp_path / "out" / "index.csv")
    assert index["image_id"].tolist() == metric.gallery.canvases.image_ids
    assert set(index["label_name"]) == set(NAMES)
    for name in ("left", "right"):
        found = np.load(tmp_path / "out" / f"{name}.npy", allow_pickle=False)
        np.testing.assert_array_equal(found, metric.gallery.embeddings[name].vectors.numpy())
    assert not (tmp_path / "out" / "both.npy").exists()


def test_the_projectors_files_belong_together(metric, tmp_path):
    write_projector(metric.gallery, ["right"], ["a\tb", "c\nd"], tmp_path / "out")
    vectors = np.loadtxt(tmp_path / "out" / "right.tsv", delimiter="\t")
    stored = metric.gallery.embeddings["right"]
    np.testing.assert_allclose(vectors, stored.vectors[stored.present].numpy(), rtol=1e-6)
    lines = (tmp_path / "out" / "right-metadata.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["image_id", "split", "label", "label_name"]
    assert len(lines) == 1 + len(vectors)
    assert all(len(line.split("\t")) == 4 for line in lines)
    config = (tmp_path / "out" / "projector_config.pbtxt").read_text()
    assert config.count("single_image_dim: 32") == 2
    sprite = np.asarray(Image.open(tmp_path / "out" / "right-sprite.png"))
    rows, across = np.flatnonzero(stored.present), int(np.ceil(np.sqrt(len(vectors))))
    y, x = divmod(9, across)
    np.testing.assert_array_equal(
        sprite[32 * y : 32 * y + 32, 32 * x : 32 * x + 32], metric.gallery.canvases.pixels[rows[9]]
    )


def test_datasets_opens_the_folder_with_images_labels_and_embeddings(metric, tmp_path):
    write_hub_folder(metric.gallery, ["right"], tmp_path / "out")
    found = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 24, "validation": 12, "test": 12}
    rows = found["test"]
    assert isinstance(rows.features["label"], ClassLabel)
    assert rows.features["label"].names == NAMES
    stored = metric.gallery.embeddings["right"]
    for row in rows:
        k = metric.gallery.row(row["image_id"])
        assert row["label"] == stored.labels[k]
        np.testing.assert_array_equal(np.asarray(row["image"]), metric.gallery.canvases.pixels[k])
        if stored.present[k]:
            np.testing.assert_allclose(row["embedding_right"], stored.vectors[k], rtol=1e-6)
        else:
            assert row["embedding_right"] is None


def test_onnx_runtime_embeds_the_data_sets_images_as_torch_did(metric, run, tmp_path):
    path = tmp_path / "both.onnx"
    assert write_onnx(metric, "both", path) <= 1e-4
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    header = metric.root
    told = json.loads({p.key: p.value for p in onnx.load(str(path)).metadata_props}["heml"])
    assert told["box"] == list(header.box)
    images = compose(header.leaves, Run(run), header.box)
    pixels, mask = images.batch(np.arange(20))
    (found,) = session.run(None, {"pixels": pixels.numpy(), "mask": mask.numpy()})
    np.testing.assert_allclose(found, metric.gallery.embeddings["both"].vectors[:20].numpy(), atol=1e-4)


def test_an_onnx_that_differs_is_not_kept(metric, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    with pytest.raises(HemlError, match=r"left\.onnx: the ONNX of 'left' differs from torch by"):
        write_onnx(metric, "left", tmp_path / "left.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "a b", ""])
def test_a_name_that_leads_elsewhere_writes_nothing(metric, tmp_path, name):
    """It stands in a file's header, and whoever made the file may have written anything there."""
    with pytest.raises(HemlError, match="no name of a node; nothing was written"):
        write_onnx(metric, name, tmp_path / "inner" / "deep" / f"{name}.onnx")
    assert list(tmp_path.rglob("*")) == []


def test_parquet_embeddings_open_in_duckdb_and_pandas_as_they_are(metric, run):
    import duckdb

    folder = run / "data" / "embeddings"
    frame = pd.read_parquet(folder)
    assert len(frame) == 3 * 48
    found = duckdb.sql(
        f"select image_id, embedding from '{folder}/*/*.parquet' where node = 'left' and present"
    ).fetchall()
    stored = metric.gallery.embeddings["left"]
    assert len(found) == stored.present.sum()
    for image_id, embedding in found[:5]:
        torch.testing.assert_close(torch.tensor(embedding), stored.vectors[metric.gallery.row(image_id)])
