"""A small data set at the point where learning begins: canvases and two segments, `left` and `right`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heml.images.canvas import write_canvases
from heml.images.decoding import encode_png
from heml.images.shards import Description, ImageRecord, write_images
from heml.params import Canvas, Segment
from heml.run import Run
from heml.segments.labelmaps import LabelMap, write_labelmaps
from heml.segments.manifest import write_manifest

CANVAS = Canvas(height=32, width=32)


@dataclass
class NodeData:
    run: Run
    pixels: np.ndarray
    masks: dict[str, np.ndarray]


def make_node_data(
    root: Path, n: int = 48, absent_every: int = 0, informative: bool = True, nasty: str = "", side: int = 32
) -> NodeData:
    """The left square's colour is the label, the right one's is noise.

    Every `absent_every`-th image lacks the right one; `nasty` ends every image_id; `side` is a multiple of 32.
    """
    scale = side // 32
    rng = np.random.default_rng(0)
    records, maps = [], []
    pixels = np.zeros((n, side, side, 3), np.uint8)
    masks = {name: np.zeros((n, side, side), bool) for name in ("left", "right")}
    for i in range(n):
        label = (i // 4) % 2
        pixels[i] = rng.integers(0, 256, (side, side, 3))
        labels = np.zeros((32, 32), np.uint8)
        labels[6:20, 2:14] = 1
        if not (absent_every and i % absent_every == 0):
            labels[6:20, 18 : 28 + i % 3] = 2
        labels = labels.repeat(scale, 0).repeat(scale, 1)
        colours = [(210, 40, 40), (40, 40, 210)]
        seen = label if informative else int(rng.integers(2))
        pixels[i][labels == 1] = np.clip(
            np.array(colours[seen]) + rng.integers(-30, 30, ((labels == 1).sum(), 3)), 0, 255
        )
        pixels[i][labels == 2] = np.clip(
            np.array(colours[int(rng.integers(2))]) + rng.integers(-30, 30, ((labels == 2).sum(), 3)), 0, 255
        )
        masks["left"][i], masks["right"][i] = labels == 1, labels == 2
        split = ("train", "train", "val", "test")[i % 4]
        records.append(
            ImageRecord(f"i{i:03d}{nasty}", split, label, encode_png(pixels[i]), "x.png", encode_png(labels))
        )
        maps.append(LabelMap(f"i{i:03d}{nasty}", side, side, labels, None))
    run, canvas = Run(root), Canvas(height=side, width=side)
    classes = {"background": 0, "left": 1, "right": 2}
    write_images(run.images, records, Description("t", "colour", ["red", "blue"], classes))
    write_canvases(canvas, run)
    write_labelmaps(run.labelmaps, maps, classes)
    for name in ("left", "right"):
        write_manifest(name, Segment(classes=[name]), canvas, run)
    return NodeData(run, pixels, masks)


def linked(run: Run, root: Path) -> Run:
    """Another run on the same images, segments and models."""
    other = Run(root, models=run.models)
    other.data.mkdir(parents=True)
    for own, there in ((run.images, other.images), (run.canvases, other.canvases), (run.segments, other.segments)):
        there.symlink_to(own)
    return other
