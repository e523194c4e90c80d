"""Miniatures of the three studies as they lie on the hub: Parquet with embedded images, and a tiny SegFormer for
each."""

from __future__ import annotations

import colorsys
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from mini_hub import MiniHub
from PIL import Image

from heml.params import Segmenter as SegmenterSettings
from heml.params import Size
from heml.segmentation.finetune import finetune
from heml.segmentation.model import new_segmenter, save_segmenter
from heml.segmentation.samples import LabelledImages

ROOT = Path(__file__).parent.parent
SIDE = 48
STUDIES = ("celeba", "human_parsing", "scene_parse")


class Study:
    """A preset, its card, and which of the model's classes are drawn."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.preset: dict[str, Any] = yaml.safe_load((ROOT / "presets" / f"{name}.yaml").read_text("utf-8"))
        self.card: dict[str, Any] = yaml.safe_load((ROOT / "data" / f"{name}.yaml").read_text("utf-8"))
        rule = self.preset["dataset"].get("rule")
        self.label_class: str | None = rule["classes"][0] if rule else None
        own = [c for s in self.preset["segments"].values() for c in s["classes"]]
        self.parts = own if self.label_class is None or self.label_class in own else [*own, self.label_class]

    @property
    def network_classes(self) -> dict[str, int]:
        """As the pinned SegFormer's configuration has them."""
        if self.name == "scene_parse":
            return {name: i - 1 for name, i in self.card["classes"].items() if i}
        if self.name == "human_parsing":
            return self.card["classes"]
        face = (
            "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat ear_r neck_l"
            " neck cloth"
        )
        return {name: i for i, name in enumerate(face.split())}


def draw(study: Study, label: int, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """An image whose parts are blocks on a grid, each in a colour of its own that the label makes lighter or darker,
    and every part's mask."""
    across = 4 if len(study.parts) > 9 else 3
    cell = SIDE // across - (0 if across == 3 else 2)
    pixels = rng.integers(0, 50, (SIDE, SIDE, 3), dtype=np.uint8)
    masks = {}
    for k, part in enumerate(study.parts):
        there = bool(label) if part == study.label_class else rng.random() < 0.8
        mask = np.zeros((SIDE, SIDE), bool)
        if there:
            y, x = (k // across) * cell, (k % across) * (SIDE // across)
            mask[y + 1 : y + cell - 1, x + 1 : x + SIDE // across - 1] = True
            value = 0.95 if (rng.random() < 0.9) == bool(label) else 0.6
            colour = np.array(colorsys.hsv_to_rgb(k / len(study.parts), 0.9, value)) * 255
            pixels[mask] = np.clip(colour + rng.normal(0, 6, (int(mask.sum()), 3)), 0, 255)
        masks[part] = mask
    return pixels, masks


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def parquet(columns: dict[str, list[Any]], features: dict[str, Any], rows_per_group: int = 10) -> bytes:
    """A Parquet file as `datasets` writes it."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {"Image": image, "bool": pa.bool_(), "int64": pa.int64(), "ClassLabel": pa.int64(), "string": pa.string()}
    arrays = {
        name: pa.array(values, kinds[features[name].get("dtype") or features[name]["_type"]])
        for name, values in columns.items()
    }
    table = pa.table(arrays).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows_per_group)
    return sink.getvalue()


IMAGE = {"_type": "Image"}


def rows(study: Study, n: int, seed: int) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Columns and features of `n` drawn images."""
    rng = np.random.default_rng(seed)
    labels = [i % 2 for i in range(n)]
    drawn = [draw(study, label, rng) for label in labels]
    card = study.card
    columns: dict[str, list[Any]] = {
        card["image"]: [{"bytes": jpeg(p), "path": f"{seed}_{i}.jpg"} for i, (p, _) in enumerate(drawn)]
    }
    features: dict[str, Any] = {card["image"]: IMAGE}
    if mask_column := card.get("mask"):
        columns[mask_column] = [{"bytes": png(label_mask(masks, card["classes"])), "path": None} for _, masks in drawn]
        features[mask_column] = IMAGE
    for name in card.get("labels", []):
        columns[name] = [bool(label) if name == "Male" else bool(rng.random() < 0.5) for label in labels]
        features[name] = {"dtype": "bool", "_type": "Value"}
    return columns, features


def label_mask(masks: dict[str, np.ndarray], classes: dict[str, int]) -> np.ndarray:
    """(H, W) uint8 class ids."""
    found = np.zeros((SIDE, SIDE), np.uint8)
    for part, mask in masks.items():
        found[mask] = classes[part]
    return found


def dataset_files(study: Study, n: int = 40) -> dict[str, bytes]:
    """The repository's files, named as on the hub: `n` training images in two files."""
    extra = {"README.md": f"---\nlicense: other\nlicense_name: {study.name}-terms\n---\n# {study.name}\n".encode()}
    if study.name == "celeba":
        extra["LICENSE"] = b"For non-commercial research.\n"
        splits = {"train": ("train", n, 2), "valid": ("valid", n // 2, 1), "test": ("test", n // 2, 1)}
        name = "img_align+identity+attr/{0}-{1:05d}-of-{2:05d}.parquet"
    elif study.name == "human_parsing":
        splits, name = {"train": ("train", 2 * n, 2)}, "data/{0}-{1:05d}-of-{2:05d}-f3a663f7140ee7fd.parquet"
    else:
        splits = {"train": ("train", n, 2), "validation": ("validation", n, 1), "test": ("test", 4, 1)}
        name = "scene_parsing/{0}/{1:04d}.parquet"
    files = dict(extra)
    for split, count, shards in splits.values():
        for shard in range(shards):
            seed = sum(map(ord, split)) + shard
            files[name.format(split, shard, shards)] = parquet(*rows(study, count // shards, seed))
    return files


def model_files(study: Study, epochs: int = 12) -> dict[str, bytes]:
    """A tiny SegFormer, fitted to such drawings, as the hub holds it; and what else lies there, which nobody should
    fetch."""
    rng = np.random.default_rng(7)
    drawn = [draw(study, i % 2, rng) for i in range(48)]
    classes = study.network_classes
    background = classes.get("background", classes.get("Background", classes.get("floor")))
    images = np.stack([pixels for pixels, _ in drawn])
    truth = np.stack([label_mask(masks, classes) for _, masks in drawn])
    covered = np.stack([np.any(list(masks.values()), axis=0) for _, masks in drawn])
    truth[~covered] = background
    size = Size(height=SIDE, width=SIDE)
    torch.manual_seed(0)
    segmenter = new_segmenter("tiny", classes, size)
    settings = SegmenterSettings(size=size, epochs=epochs, batch_size=8, lr=0.01, class_weight_power=0.3, augment=False)
    splits = {"train": LabelledImages(images[:40], truth[:40]), "val": LabelledImages(images[40:], truth[40:])}
    with tempfile.TemporaryDirectory() as folder:
        segmenter, history = finetune(segmenter, splits, settings, torch.device("cpu"), Path(folder) / "checkpoints")
        assert max(epoch["val_miou"] for epoch in history) > 0.5
        save_segmenter(segmenter, Path(folder))
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
    return files | {
        "README.md": b"---\nlicense: mit\n---\n",
        "pytorch_model.bin": b"a pickle",
        "handler.py": b"raise SystemExit",
    }


def serve(hub: MiniHub, study: Study, n: int = 40, model: bool = True) -> None:
    """Put a study on a hub, at the commits its preset pins."""
    dataset, segmenter = study.preset["dataset"], study.preset["segmenter"]
    hub.add("dataset", dataset["repo"], dataset["revision"], dataset_files(study, n))
    if model:
        hub.add("model", segmenter["model"], segmenter["revision"], model_files(study))
