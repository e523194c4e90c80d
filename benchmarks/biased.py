"""Data sets with a bias that was planted: in `train` the look of a part follows the label, in `val` and `test` it tells
nothing.

Three ways: drawn avatars, whose colours are tied; photographs, of which those are chosen to train with that make the
tie; and photographs of which a part is painted over: tinted, or the background as water or land, in the form of
Waterbirds (Sagawa et al., ICLR 2020). A painted test image is there twice, once in either look, so that what its look
does is told from what the image is.
"""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from heml.bias.attributes import part_attributes
from heml.bias.ties import Labelled, agrees
from heml.datasets.avatars import avatars
from heml.datasets.folder import folder as read_folder
from heml.images.canvas import Canvases, load_canvases, write_canvases
from heml.images.shards import Description, ImageRecord, read_description, write_images
from heml.params import FolderDataset, Params, Split
from heml.run import Run
from heml.segmentation.segment import segment_images, write_mask_segmenter
from heml.segments.manifest import read_manifest, write_manifest
from heml.tree import Tree

HELD = (0.15, 0.3)
"""Of the images of the rarest of the four groups, how many each group gives to `val` and to `test`."""
BACKGROUND = "background"
TWIN = "_in_the_other_look"
"""Ends the name of a test image's second copy."""


@dataclass(frozen=True)
class Planted:
    """A data set: a run's images, canvases and segments."""

    params: Params
    parts: list[str]
    """Whose looks follow the label."""
    sides: NDArray[np.int64]
    """(K, N): of every bias, the label that an image's look is tied to; −1 where it cannot be said."""
    run: Run

    @property
    def canvases(self) -> Canvases:
        """The images, with labels and splits."""
        return load_canvases(self.run.canvases)

    @property
    def twins(self) -> NDArray[np.bool_]:
        """(N,): an image's second copy."""
        return np.array([image_id.endswith(TWIN) for image_id in self.canvases.image_ids])

    @property
    def cells(self) -> NDArray[np.int64]:
        """(N,): the group, which is label and sides; −1 where a side cannot be said."""
        found = self.canvases.labels.copy()
        for side in self.sides:
            found = np.where((found < 0) | (side < 0), -1, 2 * found + side)
        return found


def segment(params: Params, run: Run) -> None:
    """Canvases and the manifest of every segment, from a run's images and their masks."""
    write_canvases(params.canvas, run)
    write_mask_segmenter(run.segmenter, read_description(run.images).classes)
    segment_images(params.segmenter.size, 8, run)
    for name, definition in params.segments.items():
        write_manifest(name, definition, params.canvas, run)


def drawn(
    params: Params, parts: Sequence[str], bias: float, seed: int, folder: Path, images: int | None = None
) -> Planted:
    """Avatars; of `images` in all, 600 train and 150 validate. Without parts, or with bias 0.5, nothing tells
    anything."""
    tables = yaml.safe_load(Path(params.dataset.path).read_text("utf-8"))
    for part in {"glasses", *parts}:  # the embedded tables' own bias is the glasses'
        own = tables["parts"][part]["colours"]
        for colour in own:
            own[colour] = [1 / len(own)] * 2
    tables["biased"] = list(parts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.yaml").write_text(yaml.safe_dump(tables, sort_keys=False), "utf-8")
    changed = {"path": str(folder / "tables.yaml"), "bias": bias if parts else 0.5, "seed": seed}
    if images:
        changed |= {"images": images, "split": Split(train=600 / images, val=150 / images, test=1 - 750 / images)}
    found = params.model_copy(update={"dataset": params.dataset.model_copy(update=changed)})
    records, description = avatars(found.dataset, 1)
    run = Run(folder)
    write_images(run.images, records, description)
    segment(found, run)
    canvases = load_canvases(run.canvases)
    labelled = Labelled(canvases.labels, canvases.splits, ["0", "1"])
    sides = []
    for part in parts:
        partition = read_manifest(run.segments, part)
        colour = next(a for a in part_attributes(part, partition, canvases, params.bias.groups) if a.kind == "colour")
        told = agrees(colour, labelled)
        sides.append(np.where(np.isnan(told), -1, np.where(told == 1, canvases.labels, 1 - canvases.labels)))
    return Planted(found, list(parts), np.array(sides, np.int64).reshape(len(parts), -1), run)


def chosen(params: Params, parts: Sequence[str], bias: float, seed: int, folder: Path) -> Planted:
    """Photographs of a folder: which colour the first part has follows the label in `train`; groups are as many in
    `val` and `test`.

    Its colours are put in two groups; of the four groups of colour and label the rarest decides how many images each
    split can have.
    """
    whole = Run(folder / "whole")
    write_images(whole.images, *_read(params))
    one = params.model_copy(update={"segments": {parts[0]: params.segments[parts[0]]}})
    segment(one, whole)
    canvases = load_canvases(whole.canvases)
    everything = canvases.splits.copy()
    everything[:] = "train"
    canvases = Canvases(canvases.pixels, canvases.image_ids, everything, canvases.labels)
    partition = read_manifest(whole.segments, parts[0])
    looks = next(a for a in part_attributes(parts[0], partition, canvases, 2) if a.kind == "colour").values
    rng = np.random.default_rng(seed)
    of_cell = {}
    for look, label in itertools.product((0, 1), repeat=2):
        of_cell[look, label] = rng.permutation(np.flatnonzero((looks == look) & (canvases.labels == label)))
    rarest = min(len(rows) for rows in of_cell.values())
    val, test = (round(share * rarest) for share in HELD)
    splits, left = {}, {}
    for cell, rows in of_cell.items():
        splits |= dict.fromkeys(rows[:test].tolist(), "test") | dict.fromkeys(rows[test : test + val].tolist(), "val")
        left[cell] = rows[test + val :]
    size = {tie: _most(left, tie, max(bias, 0.9)) for tie in (0, 1)}  # the look that label 1 has
    tie = max(size, key=lambda one: size[one])
    each = min(size[tie], _most(left, tie, bias))
    for (look, label), rows in left.items():
        share = bias if (look == tie) == (label == 1) else 1 - bias
        splits |= dict.fromkeys(rows[: round(share * each)].tolist(), "train")
    sides = {canvases.image_ids[row]: int(looks[row] == tie) for row in splits}
    return _planted(params, parts, {canvases.image_ids[row]: split for row, split in splits.items()}, sides, folder)


def _most(left: dict[tuple[int, int], NDArray[np.int64]], tie: int, bias: float) -> int:
    """How many training images of each label the groups allow."""
    shares = {cell: bias if (cell[0] == tie) == (cell[1] == 1) else 1 - bias for cell in left}
    return int(min(len(rows) / shares[cell] for cell, rows in left.items() if shares[cell] > 1e-9))


def painted(params: Params, parts: Sequence[str], bias: float, seed: int, folder: Path) -> Planted:
    """Photographs of a folder in which the parts are painted over, in one of two ways that follow the label in `train`:
    tinted blue or red; the background becomes water or land. Images of `test` are there in both ways."""
    if list(parts) == [BACKGROUND]:
        params = with_background(params)
    free = params.dataset.model_copy(update={"path": folder / "unsplit", "seed": seed})
    _copy(params.dataset, folder / "unsplit", None, {}, [])
    records = list(read_folder(free)[0])
    rng = np.random.default_rng(seed)
    sides = {
        r.image_id: r.label if rng.random() < (bias if r.split == "train" else 0.5) else 1 - r.label for r in records
    }
    splits = {r.image_id: r.split for r in records}
    for image_id in [one for one, split in splits.items() if split == "test"]:
        splits[image_id + TWIN], sides[image_id + TWIN] = "test", 1 - sides[image_id]
    classes = [name for part in parts for name in params.segments[part].classes]
    return _planted(params, parts, splits, sides, folder, classes)


def with_background(params: Params) -> Params:
    """The parameters with the background as one more segment, which a new root joins."""
    root = Tree.from_params(params).root
    level = next(k for k, nodes in enumerate(params.tree.levels()) if not nodes)
    found = params.model_dump(exclude_unset=True)
    found["segments"][BACKGROUND] = {"classes": [BACKGROUND]}
    found["tree"]["level_0"][BACKGROUND] = {}
    found["tree"][f"level_{level}"] = {"scene": {"left": root, "right": BACKGROUND}}
    return Params.model_validate(found)


def _read(params: Params) -> tuple[list[ImageRecord], Description, list[str]]:
    records, description, extra = read_folder(params.dataset)
    return list(records), description, extra


def _planted(
    params: Params,
    parts: Sequence[str],
    splits: dict[str, str],
    sides: dict[str, int],
    folder: Path,
    paint: Sequence[str] = (),
) -> Planted:
    """A folder with some images of another, their splits as given.

    Args:
        paint: classes that are painted over, by the image's side.
    """
    _copy(params.dataset, folder / "photos", splits, sides if paint else {}, paint)
    found = params.model_copy(update={"dataset": params.dataset.model_copy(update={"path": folder / "photos"})})
    run = Run(folder)
    write_images(run.images, *_read(found))
    segment(found, run)
    own = np.array([[sides[i] for i in load_canvases(run.canvases).image_ids]], np.int64)
    return Planted(found, list(parts), own, run)


def _copy(
    dataset: FolderDataset, target: Path, splits: dict[str, str] | None, sides: dict[str, int], classes: Sequence[str]
) -> None:
    """Copy a data set's folder with a new table: its label, and splits where they are given.

    Args:
        sides: images in which pixels of `classes` are painted over, and how.
    """
    (target / "images").mkdir(parents=True)
    (target / "masks").mkdir()
    shutil.copy(dataset.path / "classes.json", target)
    ids = json.loads((dataset.path / "classes.json").read_text("utf-8"))["classes"]
    with (dataset.path / "labels.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    named = [row | {"image_id": row["image_id"] + end} for row in listed for end in ("", TWIN)]
    rows = listed if splits is None else [row for row in named if row["image_id"] in splits]
    for row in rows:
        image_id = row["image_id"]
        image, mask = (
            next((dataset.path / kind).glob(f"{image_id.removesuffix(TWIN)}.*")) for kind in ("images", "masks")
        )
        shutil.copy(mask, target / "masks" / f"{image_id}{mask.suffix}")
        if image_id not in sides:
            shutil.copy(image, target / "images")
            continue
        pixels = np.array(Image.open(image).convert("RGB"))
        there = np.isin(np.asarray(Image.open(mask)), [ids[name] for name in classes])
        rng = np.random.default_rng([*image_id.removesuffix(TWIN).encode()])
        over = (
            scenery(pixels.shape[:2], sides[image_id], rng)
            if list(classes) == [BACKGROUND]
            else tint(pixels, sides[image_id])
        )
        pixels[there] = over[there]
        Image.fromarray(pixels).save(target / "images" / f"{image_id}.png")
    names = ["image_id", dataset.label] + ["split"] * (splits is not None)
    with (target / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row | ({"split": splits[row["image_id"]]} if splits else {}) for row in rows)


def tint(pixels: NDArray[np.uint8], kind: int) -> NDArray[np.uint8]:
    """An image (H, W, 3) half way to blue (0) or red (1), as bright as it was."""
    grey = pixels.mean(-1, keepdims=True)
    return np.clip((pixels + grey + np.array([[-60, 0, 60], [60, 0, -60]][kind])) / 2, 0, 255).astype(np.uint8)


def scenery(size: tuple[int, int], kind: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Water (0) or land (1), (H, W, 3): waves of blue, or patches of green and brown, no two alike."""
    height, width = size
    y, x = np.mgrid[:height, :width] / max(size)
    if kind == 0:
        waves = np.sin(
            2 * np.pi * (rng.uniform(6, 12) * y + 0.3 * np.sin(2 * np.pi * (rng.uniform(1, 3) * x + rng.random())))
        )
        base = np.array([60, 120, 170]) + rng.normal(0, 15, 3)
        found = base + 25 * waves[..., None] + rng.normal(0, 6, (height, width, 1))
    else:
        rough = rng.normal(0, 1, (9, 9)).astype(np.float32)
        patches = np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC))
        base = np.array([105, 120, 60]) + rng.normal(0, 15, 3)
        found = base + patches[..., None] * np.array([28, 12, 14]) + rng.normal(0, 6, (height, width, 1))
    return np.clip(found, 0, 255).astype(np.uint8)


PLANTED = {"avatars": drawn, "faces": chosen, "people": chosen, "faces painted": painted, "people painted": painted}
"""By the name of a set."""
