"""A run for FiftyOne, read back by the rules of its JSON: labels are documents with a `_cls`, arrays are compressed
.npy files."""

from __future__ import annotations

import base64
import io
import json
import mimetypes
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from heml.cli import main
from heml.evaluation.audit import image_table, mistake_table
from heml.evaluation.tree_metric import TreeMetric
from heml.explanation.metric_tree import MetricTree
from heml.exporting.fiftyone_folder import write_fiftyone
from heml.images.canvas import write_canvases
from heml.images.shards import Description, ImageRecord, write_images
from heml.params import Canvas, Evaluate, Segment
from heml.run import Run
from heml.segments.labelmaps import LabelMap, write_labelmaps
from heml.segments.manifest import write_manifest


@pytest.fixture(scope="module")
def opened(run, metric, tmp_path_factory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("fiftyone") / "out"
    write_fiftyone(metric.gallery, metric.metric, ["left", "right"], Evaluate(), folder)
    return json.loads((folder / "samples.json").read_text(), parse_constant=pytest.fail), folder


def array(value: dict) -> np.ndarray:
    return np.load(io.BytesIO(zlib.decompress(base64.b64decode(value["$binary"]["base64"]))), allow_pickle=False)


def test_every_image_is_there_with_split_label_and_embeddings(opened, metric):
    document, folder = opened
    stored = metric.gallery.embeddings
    assert [sample["image_id"] for sample in document["samples"]] == metric.gallery.canvases.image_ids
    for k, sample in enumerate(document["samples"]):
        np.testing.assert_array_equal(
            np.asarray(Image.open(folder / sample["filepath"])), metric.gallery.canvases.pixels[k]
        )
        assert sample["tags"] == [stored["left"].splits[k]]
        assert sample["ground_truth"] == {"_cls": "Classification", "label": ["red", "blue"][stored["left"].labels[k]]}
        for name in ("left", "right"):
            if stored[name].present[k]:
                np.testing.assert_array_equal(array(sample[f"embedding_{name}"]), stored[name].vectors[k].numpy())
            else:
                assert sample[f"embedding_{name}"] is None
        assert "embedding_both" not in sample


def test_every_field_is_declared(opened):
    document, _ = opened
    declared = {*document["sample_fields"], "filepath", "tags", "metadata"}
    assert set().union(*document["samples"]) <= declared
    assert all(kind.startswith("fiftyone.core.fields.") for kind in document["sample_fields"].values())


def test_the_metadata_are_the_files(opened):
    document, folder = opened
    for sample in document["samples"]:
        path = folder / sample["filepath"]
        assert sample["metadata"] == {
            "_cls": "ImageMetadata",
            "size_bytes": path.stat().st_size,
            "mime_type": mimetypes.guess_type(path)[0],
            "width": 32,
            "height": 32,
            "num_channels": 3,
        }


def test_what_the_tree_says_is_what_it_explains(opened, metric):
    document, _ = opened
    samples = {sample["image_id"]: sample for sample in document["samples"]}
    train = {image_id for image_id, sample in samples.items() if sample["tags"] == ["train"]}
    for image_id, sample in list(samples.items())[:12]:
        gallery = metric.gallery
        apart = gallery.distances(gallery.find(image_id), metric.metric).numpy()
        others = [
            k
            for k, name in enumerate(gallery.canvases.image_ids)
            if name in train and name != image_id and np.isfinite(apart[k])
        ]
        nearest = gallery.canvases.image_ids[min(others, key=lambda k: apart[k])]
        assert sample["nearest"] == nearest
        assert sample["prediction"]["label"] == samples[nearest]["ground_truth"]["label"]
        assert sample["mistake"] == (sample["prediction"]["label"] != sample["ground_truth"]["label"])
        told = {name: node.evidence for name, node in metric.explain(image_id, nearest).nodes.items()}
        assert {name: sample[f"evidence_{name}"] for name in told} == pytest.approx(told, abs=1e-4)


@pytest.fixture(scope="module")
def misled(metric, tmp_path_factory) -> tuple[TreeMetric, list[dict]]:
    """A tree that goes by the right part, whose colour is noise, and what is written of it."""
    terms = {
        name: replace(term, weight=float(name == "right"), slope=float(name == "right"))
        for name, term in metric.metric.terms.items()
    }
    folder, misled = tmp_path_factory.mktemp("misled") / "out", replace(metric.metric, terms=terms)
    write_fiftyone(metric.gallery, misled, [], Evaluate(), folder)
    return misled, json.loads((folder / "samples.json").read_text())["samples"]


def test_mistakes_name_the_node_to_blame(metric, misled):
    tree, samples = misled
    table = mistake_table(metric.gallery.embeddings, metric.tree, tree, Evaluate()).set_index("image_id")
    blamed = {sample["image_id"]: sample["blame"]["label"] for sample in samples if sample.get("blame")}
    assert "right" in blamed.values()
    assert blamed == table["blame"].to_dict()
    assert set(blamed) == {s["image_id"] for s in samples if s.get("mistake") and s["tags"] == ["test"]}


def test_a_label_is_suggested_where_it_is_another(metric, misled):
    tree, samples = misled
    table = image_table(metric.gallery.embeddings, metric.tree, tree, Evaluate()).set_index("image_id")
    other = table.loc[table["suggested"] != table["label"], "suggested"]
    assert 0 < len(other) < len(table)
    suggested = {sample["image_id"]: sample["suggested"]["label"] for sample in samples if "suggested" in sample}
    assert suggested == {image_id: ["red", "blue"][label] for image_id, label in other.items()}


def painted(detection: dict, width: int, height: int) -> np.ndarray:
    """A detection's mask on the image, as FiftyOne draws it: stretched over its box."""
    x, y, w, h = detection["bounding_box"]
    box = round(x * width), round(y * height), round((x + w) * width), round((y + h) * height)
    found = np.zeros((height, width), bool)
    mask = Image.fromarray(array(detection["mask"]).astype(np.uint8))
    found[box[1] : box[3], box[0] : box[2]] = np.asarray(
        mask.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.NEAREST)
    )
    return found


def test_masks_lie_where_the_segments_are(opened, metric):
    document, _ = opened
    for k, sample in enumerate(document["samples"]):
        found = {detection["label"]: painted(detection, 32, 32) for detection in sample["segments"]["detections"]}
        for name, part in metric.gallery.partitions.items():
            assert (name in found) == bool(part.present[k])
            if part.present[k]:
                np.testing.assert_array_equal(found[name], part.mask(k))


def test_a_wide_turned_tiff_is_upright_and_its_mask_lies_on_it(tmp_path, metric):
    """On the canvas it is small and in the middle; on the image, whose own pixels lie on their side, the mask is where
    the colour is."""
    upright = np.zeros((20, 40, 3), np.uint8)
    upright[5:15, 20:40] = (250, 10, 10)
    labels = (upright[:, :, 0] > 0).astype(np.uint8)
    turned = Image.fromarray(np.rot90(upright))
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = []
    for kind in ("TIFF", "PNG"):
        buffer = io.BytesIO()
        turned.save(buffer, kind, exif=exif)
        contents.append(buffer.getvalue())
    ids = metric.gallery.canvases.image_ids
    splits, kinds = metric.gallery.canvases.splits, metric.gallery.canvases.labels
    records = [
        ImageRecord(image_id, splits[k], int(kinds[k]), contents[k % 2], f"{k}.tif") for k, image_id in enumerate(ids)
    ]
    run, canvas = Run(tmp_path), Canvas(height=32, width=32)
    write_images(run.images, records, Description("t", "colour", ["red", "blue"], {"background": 0, "part": 1}))
    write_canvases(canvas, run)
    write_labelmaps(run.labelmaps, [LabelMap(i, 40, 20, labels, None) for i in ids], {"background": 0, "part": 1})
    for leaf in ("left", "right"):
        write_manifest(leaf, Segment(classes=["part"]), canvas, run)
    run.embeddings.symlink_to(metric.gallery.run.embeddings)
    gallery = MetricTree.load(metric.run.models, run.data).gallery
    write_fiftyone(gallery, metric.metric, ["left"], Evaluate(), tmp_path / "out")
    for sample in json.loads((tmp_path / "out" / "samples.json").read_text())["samples"][:2]:
        image = Image.open(tmp_path / "out" / sample["filepath"])
        assert (image.format, image.getexif().get(0x0112, 1)) == ("PNG", 1)
        assert (sample["metadata"]["width"], sample["metadata"]["height"]) == (40, 20)
        np.testing.assert_array_equal(np.asarray(image), upright)
        (left,) = [painted(d, 40, 20) for d in sample["segments"]["detections"] if d["label"] == "left"]
        assert (left != labels.astype(bool)).mean() < 0.08  # a canvas pixel is more than one of the image's


def test_the_command(run, tmp_path, capsys):
    places = [f"--models={run / 'models'}", f"--data={run / 'data'}", f"--params={ROOT / 'params.yaml'}"]
    main(["export", "fiftyone", str(tmp_path / "out"), "--node", "left", *places])
    assert str(tmp_path / "out") in capsys.readouterr().out
    assert len(json.loads((tmp_path / "out" / "samples.json").read_text())["samples"]) == 48
