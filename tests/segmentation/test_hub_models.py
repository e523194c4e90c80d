"""SegFormers from the hub: what is fetched, how classes are named, and what they say of images."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mini_hub import mini_hub, use_hub
from PIL import Image

from heml.errors import HemlError
from heml.fetch import Repo
from heml.images.shards import Description, ImageRecord, read_rows, write_images
from heml.params import Rule, Size
from heml.segmentation.areas import covered
from heml.segmentation.model import fetch_model, load_segmenter, new_segmenter, save_segmenter
from heml.segmentation.predict import predict
from heml.segmentation.prepare import held_out_iou
from stages import download

COMMIT = "b" * 40
SIZE = Size(height=32, width=32)
CLASSES = {"wall": 0, "bed ": 1, "tree": 2}
CPU = torch.device("cpu")


@pytest.fixture
def files(tmp_path) -> dict[str, bytes]:
    """A model as some lie on the hub: a class name with a blank behind it, and pickles beside the safetensors."""
    torch.manual_seed(2)  # one whose answers vary
    save_segmenter(new_segmenter("tiny", CLASSES, SIZE), tmp_path / "made")
    found = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    return found | {
        "pytorch_model.bin": b"pickle",
        "tf_model.h5": b"h5",
        "handler.py": b"import os",
        "README.md": b"---\nlicense: mit\n---\n",
    }


@pytest.fixture
def hub(tmp_path, monkeypatch, files):
    with mini_hub() as running:
        use_hub(running.endpoint, tmp_path / "cache", monkeypatch)
        running.add("model", "team/parser", COMMIT, files)
        yield running


def test_only_configuration_and_safetensors_are_fetched(hub):
    folder = fetch_model(Repo("team/parser", COMMIT, "model"))
    assert {p.name for p in folder.iterdir()} == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
        "README.md",
    }
    before = len(hub.requests)
    loaded = load_segmenter("team/parser", COMMIT)
    assert len(hub.requests) == before  # transformers asks for nothing of its own
    assert loaded.classes == {"wall": 0, "bed": 1, "tree": 2}


def test_the_fetched_network_is_the_saved_one(hub, tmp_path):
    here, there = load_segmenter(tmp_path / "made"), load_segmenter("team/parser", COMMIT)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    for network in (here, there):
        network.network.eval()
    assert np.array_equal(predict(here, images, CPU)[0], predict(there, images, CPU)[0])


@pytest.mark.parametrize(
    ("name", "revision", "said"),
    [
        ("team/parser", None, r"set segmenter\.revision to the commit"),
        ("team/parser", "main", r"all 40 digits of its hash"),
        ("team/parser", "c" * 40, "no such commit"),
        ("team/none", COMMIT, "no such repository"),
        ("no folder here", COMMIT, "is no folder here and no hub id"),
        ("team/pickled", COMMIT, "has no safetensors weights"),
        ("team/empty", COMMIT, r"has no config\.json"),
        ("team/other", COMMIT, "cannot load 'team/other'"),
        ("team/many", COMMIT, "cannot load 'team/many'.*ids from 0 to 254"),
        ("team/twice", COMMIT, "cannot load 'team/twice'.*distinct names"),
        ("a--b/c", COMMIT, "no name of a hub repository"),
        ("team/huge", COMMIT, "cannot load 'team/huge'"),
    ],
)
def test_what_cannot_be_loaded_is_named(hub, files, name, revision, said):
    hub.add("model", "team/pickled", COMMIT, {k: v for k, v in files.items() if not k.endswith(".safetensors")})
    hub.add("model", "team/empty", COMMIT, {"model.safetensors": files["model.safetensors"]})
    hub.add("model", "team/other", COMMIT, files | {"config.json": b'{"model_type": "bert"}'})
    config = json.loads(files["config.json"])
    many = json.dumps(config | {"id2label": {"2000000000": "x"}}).encode()
    twice = json.dumps(config | {"id2label": {"0": "bed", "1": "bed ", "2": "tree"}}).encode()
    hub.add("model", "team/many", COMMIT, files | {"config.json": many})
    hub.add("model", "team/twice", COMMIT, files | {"config.json": twice})
    huge = b'{"size": {"height": 100000, "width": 100000}}'
    hub.add("model", "team/huge", COMMIT, files | {"preprocessor_config.json": huge})
    with pytest.raises(HemlError, match=said) as raised:
        load_segmenter(name, revision)
    assert "\n" not in str(raised.value)


def test_areas_are_the_share_of_pixels_by_a_naive_count(hub):
    rule = Rule(classes=["tree", "bed"], model="team/parser", revision=COMMIT, size=SIZE, batch_size=3)
    rng = np.random.default_rng(1)
    images = [(f"i{k}", Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))) for k in range(7)]
    found = dict(covered(rule)(images))
    network = load_segmenter("team/parser", COMMIT)
    network.network.eval()
    for image_id, image in images:
        labels, _ = predict(network, np.asarray(image)[None], CPU)
        expected = sum(int(v in (1, 2)) for v in labels.ravel()) / labels.size
        # a batch's sums may round otherwise at a pixel or two
        assert found[image_id] == pytest.approx(expected, abs=2e-3)
    with pytest.raises(HemlError, match=r"dataset\.rule\.classes: unknown sky; team/parser has wall, bed, tree"):
        covered(rule.model_copy(update={"classes": ["sky"]}))


def test_iou_judges_the_classes_in_common_and_leaves_other_pixels_out(hub, tmp_path):
    """Masks number their classes otherwise than the network, and have one that it does not know."""
    own = {"other": 0, "tree": 5, "wall": 9}
    rng = np.random.default_rng(2)
    network = load_segmenter("team/parser", COMMIT)
    network.size = SIZE
    records, pairs = [], []
    for i in range(5):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        mask = rng.choice(np.array([0, 5, 9], np.uint8), (32, 32))
        image, label = io.BytesIO(), io.BytesIO()
        Image.fromarray(pixels).save(image, "PNG")
        Image.fromarray(mask).save(label, "PNG")
        records.append(ImageRecord(f"{i}", "test" if i else "train", 0, image.getvalue(), "x.png", label.getvalue()))
        if i:
            pairs.append((pixels, mask))
    write_images(tmp_path / "images", records, Description("t", "y", ["a"], own))
    report = held_out_iou(network, tmp_path / "images", own, 2, CPU)
    network.network.eval()
    predicted = predict(network, np.stack([p for p, _ in pairs]), CPU)[0]
    truth = np.stack([m for _, m in pairs])
    for name, mask_id, network_id in (("tree", 5, 2), ("wall", 9, 0)):
        t, p = truth == mask_id, (predicted == network_id) & (truth != 0)
        expected = (t & p).sum() / max((t | p).sum(), 1)
        assert report["iou"][name] == pytest.approx(expected, abs=5e-3)
    assert report["split"] == "test"
    assert set(report["iou"]) == {"tree", "wall"}
    assert report["miou"] == pytest.approx(np.mean([v for v in report["iou"].values() if v is not None]))
    assert held_out_iou(network, tmp_path / "images", {"other": 0}, 2, CPU) == {}


def test_a_configuration_may_not_bring_code(hub, files):
    config = json.loads(files["config.json"]) | {"auto_map": {"AutoModel": "handler.Model"}}
    hub.add("model", "team/tricky", COMMIT, files | {"config.json": json.dumps(config).encode()})
    load_segmenter("team/tricky", COMMIT)
    assert "handler.py" not in hub.fetched()


def test_the_download_stage_asks_the_network_that_a_rule_names(
    hub, make_folder, tmp_path, monkeypatch, params_dict, capsys
):
    root = make_folder(masks=False)
    (root / "labels.csv").unlink()
    rule = Rule(classes=["bed"], model="team/parser", revision=COMMIT, size=SIZE)
    images = [(path.stem, Image.open(path)) for path in sorted((root / "images").iterdir())]
    areas = dict(covered(rule)(images))
    middle = float(np.mean(list(areas.values())))
    settings = rule.model_dump() | {"area": middle}
    params_dict["dataset"] = {"name": "folder", "path": str(root), "label": "leafy", "rule": settings}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params_dict))
    monkeypatch.chdir(tmp_path)
    download.main()
    found = {row["image_id"]: row["label"] for row in read_rows("data/images", ["image_id", "label"])}
    assert found == {image_id: int(area >= middle) for image_id, area in areas.items()}
    assert 0 < sum(found.values()) < 20
    out = capsys.readouterr().out
    assert "20 images, label 'leafy' with 2 values, no masks" in out
    assert "A folder of your own images" in Path("reports/terms/dataset.txt").read_text()
