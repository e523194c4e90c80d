"""A stored tree on images of the data set and on files, against the stages' own way."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from run_data import run_params

from heml.errors import HemlError
from heml.evaluation.embeddings import read_all, write_embeddings
from heml.evaluation.tree_metric import write_metric
from heml.evaluation.weighing import weigh
from heml.explanation.exchange import distances, exchange, give
from heml.explanation.metric_tree import MetricTree
from heml.images.canvas import write_canvases
from heml.images.decoding import BadImage, encode_png
from heml.images.shards import Description, ImageRecord, write_images
from heml.learning.node import build_node
from heml.params import Canvas, Size
from heml.run import Run
from heml.segmentation.model import new_segmenter, save_segmenter
from heml.segmentation.segment import segment_images
from heml.segments.manifest import write_manifest
from heml.tree import Tree

CLASSES = {"background": 0, "left": 1, "right": 2}


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """A run whose segments come from a (never trained) SegFormer, so that files go the way the data set's images
    went."""
    root = tmp_path_factory.mktemp("segmented")
    rng = np.random.default_rng(0)
    records = []
    (root / "files").mkdir()
    for i in range(24):
        pixels = np.zeros((40, 30 + 4 * (i % 3), 3), np.uint8) + rng.integers(0, 256, 3, dtype=np.uint8)
        pixels[10:30, 5:25] = rng.integers(0, 256, 3)
        Image.fromarray(pixels).save(root / "files" / f"{i}.png")
        records.append(
            ImageRecord(f"{i:02d}", ("train", "train", "val", "test")[i % 4], i // 4 % 2, encode_png(pixels), "x.png")
        )
    run = Run(root)
    write_images(run.images, records, Description("t", "kind", ["a", "b"], {}))
    torch.manual_seed(0)
    size = Size(height=32, width=32)
    save_segmenter(new_segmenter("tiny", CLASSES, size), run.segmenter)
    segment_images(size, 8, run)
    canvas = Canvas(height=32, width=32)
    write_canvases(canvas, run)
    params = run_params()
    tree = Tree.from_params(params)
    for name, segment in params.segments.items():
        write_manifest(name, segment, canvas, run)
    for node in tree:
        build_node(node, params.train, run)
    write_embeddings(tree, run)
    write_metric(run.metric, weigh(read_all(run.embeddings, tree), tree, params.metric, "train"))
    return root


def test_a_file_is_embedded_as_the_data_sets_image_was(segmented):
    tree = MetricTree.load(segmented / "models", segmented / "data")
    stored = read_all(segmented / "data" / "embeddings", tree.tree)
    assert any(node.present.any() for node in stored.values())
    found = tree.embed([segmented / "files" / f"{i}.png" for i in range(24)])
    for name, node in stored.items():
        torch.testing.assert_close(found[name], node.vectors, atol=1e-4, rtol=1e-3, equal_nan=True)


def test_files_ids_and_opened_images_are_explained_alike(segmented):
    tree = MetricTree.load(segmented / "models", segmented / "data")
    files = [segmented / "files" / f"{i}.png" for i in (3, 7)]
    by_file = tree.explain(*files)
    by_id = tree.explain("03", "07")
    opened = tree.explain(Image.open(files[0]), "07")
    assert (by_file.first.name, by_id.first.name, opened.first.name) == ("3.png", "03", "image 1")
    for name, node in by_id.nodes.items():
        for other in (by_file, opened):
            assert other.nodes[name].distance == pytest.approx(node.distance, abs=1e-4, nan_ok=True)
            assert other.nodes[name].evidence == pytest.approx(node.evidence, abs=0.05)


def test_without_a_data_folder_files_still_work(segmented, tmp_path):
    tree = MetricTree.load(segmented / "models", tmp_path / "none")
    assert tree.gallery is None
    assert tree.explain(segmented / "files" / "3.png", segmented / "files" / "7.png").nodes["both"].distance >= 0
    with pytest.raises(HemlError, match="03: no such file, and no image of a data set: there is none here"):
        tree.view("03")


def test_views_of_the_gallery_are_the_stored_masks_and_embeddings(metric, run):
    view = metric.gallery.find("i003")
    assert view.masks["left"].sum() == metric.gallery.partitions["left"].mask(3).sum() == 14 * 12
    assert view.has("left")
    assert not metric.gallery.find("i005").has("right")
    picture = view.picture(["left"], (0, 0, 32, 32))
    assert (picture[view.masks["left"]] == view.canvas[view.masks["left"]]).all()
    assert (picture[~view.masks["left"]] == 236).all()


def test_errors_say_what_to_do(metric, run, tmp_path):
    with pytest.raises(HemlError, match="nobody: no such file, and no image of the data set"):
        metric.explain("i003", "nobody")
    with pytest.raises(HemlError, match=r"image_id 'nobody': not in the data set \(48 images, such as 'i000'\)"):
        metric.gallery.find("nobody")
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(BadImage, match=r"bad\.png: not a readable"):
        metric.view(tmp_path / "bad.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    with pytest.raises(HemlError, match="stands for the data set's own masks.*by their image_id"):
        metric.view(tmp_path / "good.png")
    with pytest.raises(HemlError, match="no metric of the tree"):
        MetricTree.load(_without(run, tmp_path, "metric.json"), run / "data")


def _without(run, folder, name):
    models = folder / "models"
    models.mkdir()
    for path in (run / "models").iterdir():
        if path.name != name:
            (models / path.name).symlink_to(path)
    return models


def test_an_explanation_is_json_and_lines(metric):
    found = metric.explain("i003", "i007", ["cosine"])
    text = str(found)
    assert text.splitlines()[2].startswith("both  ")
    assert "├─ left" in text
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    parts = [stored["nodes"][leaf]["share"] for leaf in ("left", "right")]
    assert sum(parts) == pytest.approx(stored["log_odds"], abs=1e-5)
    assert set(stored["nodes"]["left"]["distances"]) == {"cosine"}


def test_a_node_left_over_from_an_earlier_tree_is_left_alone(run, tmp_path):
    models = _without(run, tmp_path, "nodes")
    shutil.copytree(run / "models" / "nodes", models / "nodes")
    shutil.copy(models / "nodes" / "left.safetensors", models / "nodes" / "gone.safetensors")
    assert set(MetricTree.load(models, run / "data").tree.nodes) == {"left", "right", "both"}


def test_a_tree_with_a_hidden_part_sees_files_and_exchanges_as_the_data_set(segmented, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(segmented, root)
    params = run_params()
    tree = Tree(list(Tree.from_params(params)), ["left"])
    run = Run(root)
    write_embeddings(tree, run)
    write_metric(run.metric, weigh(read_all(run.embeddings, tree), tree, params.metric, "train"))
    trained = MetricTree.load(root / "models", root / "data")
    assert trained.tree.sees("both") == ["right"]
    found = trained.embed([root / "files" / f"{i}.png" for i in range(24)])
    for name, node in read_all(root / "data/embeddings", tree).items():
        torch.testing.assert_close(found[name], node.vectors, atol=1e-4, rtol=1e-3, equal_nan=True)
    told = trained.explain("03", "07")
    assert sum(told.parts.values()) == pytest.approx(told.log_odds)
    a, b = told.first, told.second
    rises = []
    for one, other in ((a, b), (b, a)):  # every node looks again, by what it sees
        view = give(one, other, ["left"])
        vectors = {
            n: trained.made(n, [(view.canvas, view.seen(trained.tree.sees(n)))])[0] for n in trained.metric.terms
        }
        changed = distances(replace(view, vectors=vectors), other, trained.metric)
        rises.append(float(trained.metric.log_odds(changed)) - told.log_odds)
    effects = exchange(a, b, trained.tree, trained.metric, trained.made)
    assert effects["left"] == pytest.approx(np.mean(rises), abs=1e-4)
