"""`models/segmenter` from any source, with its per-class IoU on held-out masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from heml.atomic import new_file, new_folder
from heml.datasets.store import read_description
from heml.errors import HemlError
from heml.params import Segmenter as Settings
from heml.segmentation.segment import write_mask_segmenter


def prepare_segmenter(settings: Settings, images: Path, folder: Path, report_path: Path, checkpoints: Path) -> dict[str, Any]:
    """Write the segmenter folder and its report, and return the report.

    The report has `source`, and where there are held-out masks `iou` (class → IoU, null for a class that is neither
    there nor predicted), `miou` (their mean) and `split`; after fitting also `history` and `parameters`.

    Raises:
        HemlError: masks are asked for and there are none, or the weights cannot be loaded.
    """
    if settings.source == "masks":
        write_mask_segmenter(folder, read_description(images).classes)
        report: dict[str, Any] = {"source": "masks"}
    else:
        report = _network(settings, images, folder, checkpoints)
    with new_file(report_path) as partial:
        partial.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return report


def _network(settings: Settings, images: Path, folder: Path, checkpoints: Path) -> dict[str, Any]:
    import torch  # half of the sources need no network

    from heml.segmentation.dataset import load_labelled
    from heml.segmentation.finetune import finetune
    from heml.segmentation.iou import iou
    from heml.segmentation.model import load_segmenter, new_segmenter, save_segmenter
    from heml.segmentation.predict import best_device, evaluate_segmenter

    device = best_device()
    classes = read_description(images).classes
    report: dict[str, Any] = {"source": settings.source, "model": settings.model, "revision": settings.revision}
    splits = load_labelled(images, settings.size) if classes else {}
    if settings.source == "finetune":
        if not classes:
            raise HemlError("segmenter.source finetune: the data set has no masks to fit to; use `pretrained`")
        torch.manual_seed(settings.seed)
        if settings.model:
            segmenter = load_segmenter(settings.model, settings.revision, classes)
        else:
            segmenter = new_segmenter(settings.architecture, classes, settings.size)
        segmenter, report["history"] = finetune(segmenter, splits, settings, device, checkpoints)
    else:
        assert settings.model is not None  # checked by the parameters
        segmenter = load_segmenter(settings.model, settings.revision)
        segmenter.network.to(device)
    segmenter.size = settings.size
    report["parameters"] = sum(p.numel() for p in segmenter.network.parameters())

    held_out = next((s for s in ("test", "val") if s in splits), None)
    if held_out and _same_names(segmenter.classes, classes):
        truth = _renumber(splits[held_out].masks, classes, segmenter.classes)
        counts = evaluate_segmenter(segmenter, splits[held_out].images, truth, settings.batch_size, device)
        scores = iou(counts)
        names = {i: name for name, i in segmenter.classes.items()}
        report["split"] = held_out
        report["iou"] = {names[i]: None if np.isnan(v) else float(v) for i, v in enumerate(scores) if names[i] in classes}
        report["miou"] = float(np.nanmean(scores))
    with new_folder(folder) as partial:
        save_segmenter(segmenter, partial)
    return report


def _same_names(network: dict[str, int], masks: dict[str, int]) -> bool:
    """Whether every mask class is one of the network's, so that the two can be compared."""
    return set(masks) <= set(network)


def _renumber(
    masks: np.ndarray[Any, np.dtype[np.uint8]], own: dict[str, int], network: dict[str, int]
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Mask ids of the data set → ids of the network."""
    table = np.zeros(256, np.uint8)
    for name, i in own.items():
        table[i] = network[name]
    return np.asarray(table[masks], dtype=np.uint8)
