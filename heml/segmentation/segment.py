"""Label every image: with the SegFormer of `models/segmenter`, or with the data set's own masks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heml.atomic import new_folder
from heml.errors import HemlError
from heml.images.decoding import check_mask, decode_image, decode_mask
from heml.images.shards import count_images, read_rows
from heml.json_file import write_json
from heml.machine import best_device
from heml.params import Size
from heml.progress import progress
from heml.row_groups import Each
from heml.run import Run
from heml.sealed import fingerprint
from heml.segments.labelmaps import ROWS_PER_GROUP, LabelMap, write_labelmaps

if TYPE_CHECKING:
    import torch

    from heml.segmentation.model import Segmenter

MASKS = "heml_masks"
"""`model_type` of the segmenter folder that stands for the data set's own masks."""
SUMS = "SHA256SUMS"
"""What is in a segmenter folder, as `sha256sum --check` reads it."""


def write_sums(folder: Path) -> None:
    """Write down what every file of a segmenter folder holds."""
    lines = [f"{fingerprint(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / SUMS).write_text("".join(lines), "utf-8")


def check_sums(folder: str | Path) -> None:
    """Hold the files of a segmenter folder against what was written down; a folder of somebody else's may have no such
    list.

    Raises:
        HemlError: a file is missing or another.
    """
    path = Path(folder) / SUMS
    for line in path.read_text("utf-8", "replace").splitlines() if path.is_file() else ():
        known, _, name = line.partition("  ")
        file = path.parent / Path(name).name
        if not file.is_file() or fingerprint(file) != known:
            raise HemlError(
                f"{file}: is not what {path} says; remove {folder} and run `dvc repro segmenter` to make it again"
            )


def write_mask_segmenter(folder: str | Path, classes: dict[str, int]) -> None:
    """A `models/segmenter` that says: take the masks.

    Raises:
        HemlError: the data set has no masks.
    """
    if not classes:
        raise HemlError(
            "segmenter.source masks: the data set has no masks; use `pretrained`, or add masks/ and classes.json"
        )
    with new_folder(folder) as partial:
        config = {
            "model_type": MASKS,
            "id2label": {str(i): name for name, i in sorted(classes.items(), key=lambda kv: kv[1])},
        }
        write_json(partial / "config.json", config)
        write_sums(partial)


def segmenter_classes(folder: str | Path) -> tuple[bool, dict[str, int]]:
    """Whether a `models/segmenter` stands for masks, and its classes (name → id).

    Raises:
        HemlError: no such folder, or a file of it is damaged.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise HemlError(f"{folder}: no segmenter; run `dvc repro segmenter` first")
    check_sums(folder)
    try:
        config = json.loads(path.read_text("utf-8"))
        classes = {str(name): int(i) for i, name in config["id2label"].items()}
        if len(classes) < len(config["id2label"]):
            raise ValueError("two classes of one name")
        return config["model_type"] == MASKS, classes
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HemlError(
            f"{path}: is damaged ({error!r}); remove {folder} and run `dvc repro segmenter` to make it again"
        ) from None


def segment_images(size: Size, batch_size: int, run: Run, each: Each = map) -> None:
    """Write the label map of every image of a run.

    Args:
        each: how row groups are handed out.

    Raises:
        HemlError: an image without a mask where masks are to be trusted.
    """
    masks, classes = segmenter_classes(run.segmenter)
    total = count_images(run.images)
    label = (
        partial(_from_masks, run.images, classes, size)
        if masks
        else partial(_from_network, run.images, run.segmenter, size, batch_size)
    )
    maps = chain.from_iterable(each(label, range(0, total, ROWS_PER_GROUP)))
    write_labelmaps(run.labelmaps, progress(maps, "segment", total, "image"), classes)


def _from_masks(images: Path, classes: dict[str, int], size: Size, start: int) -> list[LabelMap]:
    """The label maps of one row group, the one that begins at row `start`."""
    found = []
    for row in read_rows(images, ["image_id", "image", "mask"], start, start + ROWS_PER_GROUP):
        image_id = row["image_id"]
        if row["mask"] is None:
            raise HemlError(
                f"segmenter.source masks: image {image_id!r} has no mask; add it, or use `finetune` or `pretrained`"
            )
        mask = decode_mask(row["mask"]["bytes"], image_id, float("inf"))
        height, width = mask.shape
        check_mask(mask, (width, height), classes, image_id)
        scale = min(1.0, size.height / height, size.width / width)
        if scale < 1:
            shrunk = (max(1, round(width * scale)), max(1, round(height * scale)))
            mask = np.asarray(Image.fromarray(mask).resize(shrunk, Image.Resampling.NEAREST))
        found.append(LabelMap(image_id, width, height, mask, None))
    return found


def _from_network(images: Path, segmenter: Path, size: Size, batch_size: int, start: int) -> list[LabelMap]:
    """The same by a SegFormer; batches do not cross row groups, so that a group's bytes do not depend on who labels the
    others."""
    from heml.segmentation.predict import predict
    from heml.segmentation.samples import batches, resize_image  # torch and transformers only where a network runs

    network, device = _network(segmenter.resolve())

    def resized() -> Iterator[tuple[str, int, int, NDArray[np.uint8]]]:
        for row in read_rows(images, ["image_id", "image"], start, start + ROWS_PER_GROUP):
            image = decode_image(row["image"]["bytes"], row["image_id"], float("inf"))
            yield row["image_id"], image.width, image.height, resize_image(image, size, network.preprocessing.resample)

    found = []
    for batch in batches(resized(), batch_size):
        labels, confidence = predict(network, np.stack([pixels for *_, pixels in batch]), device)
        for (image_id, width, height, _), label, sure in zip(batch, labels, confidence, strict=True):
            found.append(LabelMap(image_id, width, height, label, sure))
    return found


def _network(folder: Path) -> tuple[Segmenter, torch.device]:
    """The SegFormer of a folder, loaded once for all of its row groups."""
    return _load(folder, (folder / "config.json").stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _load(folder: Path, written: int) -> tuple[Segmenter, torch.device]:
    from heml.segmentation.model import load_segmenter

    device, network = best_device(), load_segmenter(folder)
    network.network.to(device).eval()
    return network, device
