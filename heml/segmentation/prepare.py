"""`models/segmenter` from any source, with its per-class IoU on held-out masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heml.atomic import new_folder
from heml.errors import HemlError
from heml.images.shards import read_description
from heml.images.void import VOID, class_faults
from heml.json_file import write_json
from heml.machine import best_device
from heml.params import Segmenter as Settings
from heml.run import Run
from heml.segmentation.segment import write_mask_segmenter, write_sums
from heml.segments.names import unknown_names
from heml.terms import hub_terms

if TYPE_CHECKING:  # half of the sources need no network
    import torch

    from heml.segmentation.model import Segmenter


def prepare_segmenter(settings: Settings, run: Run) -> dict[str, Any]:
    """Write a run's segmenter folder and its report, and return the report.

    The report has `source`; of a network also `parameters`, after fitting `history`, and where there are held-out masks
    `iou` (class → IoU, null for a class that is neither there nor predicted), `miou` (their mean) and `split`; `notes`
    says what was not judged.

    Raises:
        HemlError: masks are asked for and there are none or with ids that a SegFormer cannot have, or the weights
            cannot be loaded.
    """
    if settings.source == "masks":
        write_mask_segmenter(run.segmenter, read_description(run.images).classes)
        report: dict[str, Any] = {"source": "masks"}
    else:
        report = _network(settings, run)
    return write_json(run.segmenter_report, report)


def segmenter_terms(settings: Settings) -> list[str]:
    """Lines on the licence and terms of the network behind the segments."""
    if settings.source == "masks":
        return ["None: the segments are the data set's own masks."]
    if settings.model is None:
        return ["Fitted here, from scratch."]
    from heml.fetch import model_repo  # the hub's client, for those who use the hub

    repo = model_repo(settings.model, settings.revision)
    return [f"{settings.model}, a folder on this machine"] if repo is None else hub_terms(repo)


def _network(settings: Settings, run: Run) -> dict[str, Any]:
    import torch  # half of the sources need no network

    from heml.segmentation.finetune import finetune
    from heml.segmentation.model import load_segmenter, new_segmenter, save_segmenter
    from heml.segmentation.samples import load_labelled

    device = best_device()
    classes = read_description(run.images).classes
    report: dict[str, Any] = {"source": settings.source, "model": settings.model, "revision": settings.revision}
    if settings.source == "finetune":
        if not classes:
            raise HemlError("segmenter.source finetune: the data set has no masks to fit to; use `pretrained`")
        if faults := class_faults(classes):
            raise HemlError(
                f"{run.images}: the masks' classes cannot be fitted to: {faults[0]}; put it right and run `dvc repro"
                " download`"
            )
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        if settings.model:
            segmenter = load_segmenter(settings.model, settings.revision, classes)
        else:
            segmenter = new_segmenter(settings.architecture, classes, settings.size)
        splits = load_labelled(run.images, settings.size, ("train", "val"), segmenter.preprocessing.resample)
        segmenter, report["history"] = finetune(segmenter, splits, settings, device, run.checkpoints)
    else:
        assert settings.model is not None  # checked by the parameters
        segmenter = load_segmenter(settings.model, settings.revision)
        segmenter.network.to(device)
        report["notes"] = unjudged(classes, segmenter.classes)
        if segmenter.size != settings.size:
            own, here = (f"{size.height}×{size.width}" for size in (segmenter.size, settings.size))
            report["notes"].append(f"the network is made for images of {own}, and segmenter.size brings them to {here}")
    segmenter.size = settings.size
    report["parameters"] = sum(p.numel() for p in segmenter.network.parameters())
    report |= held_out_iou(segmenter, run.images, classes, settings.batch_size, device)
    if "iou" not in report and not report.get("notes") and classes:
        report["notes"] = ["no IoU on the masks: no image of val or test has one that is not void throughout"]
    with new_folder(run.segmenter) as partial:
        save_segmenter(segmenter, partial)
        write_sums(partial)
    return report


def unjudged(classes: Mapping[str, int], known: Collection[str]) -> list[str]:
    """Which classes of the masks no IoU is found for, since the network has none of their name; a sentence, or nothing.

    Args:
        classes: of the masks, name → id. known: of the network.
    """
    unknown = unknown_names(classes, known)
    if not unknown:
        return []
    if len(unknown) == len(classes):
        return [
            f"no IoU on the masks: none of their classes ({', '.join(unknown)}) is the network's, which has"
            f" {', '.join(known)}"
        ]
    return [f"no IoU of {', '.join(unknown)}: the network has no class of that name"]


def held_out_iou(
    segmenter: Segmenter, images: Path, classes: dict[str, int], batch_size: int, device: torch.device
) -> dict[str, Any]:
    """`split`, `iou` and `miou` on the test images' masks (val's where test has none), over the classes that masks and
    network share by name. Void pixels, and those of mask classes that the network does not know, such as "other", are
    not judged.

    Returns:
        Nothing where there are no masks, or no class in common.
    """
    from heml.segmentation.iou import confusion, iou
    from heml.segmentation.predict import predict
    from heml.segmentation.samples import batches, read_labelled

    shared = [name for name in segmenter.classes if name in classes]
    table = np.full(256, VOID, np.uint8)
    for name in shared:
        table[classes[name]] = segmenter.classes[name]
    number = len(segmenter.classes)
    segmenter.network.eval()
    for split in ("test", "val") if shared else ():
        counts = np.zeros((number, number), np.int64)
        for batch in batches(
            read_labelled(images, segmenter.size, (split,), segmenter.preprocessing.resample), batch_size
        ):
            labels, _ = predict(segmenter, np.stack([picture for _, picture, _ in batch]), device)
            truth = table[np.stack([mask for _, _, mask in batch])]
            judged = truth != VOID
            counts += confusion(labels[judged], truth[judged], number)
        if counts.any():
            scores = {
                name: float(score) for name, score in zip(segmenter.classes, iou(counts), strict=True) if name in shared
            }
            found = [score for score in scores.values() if not np.isnan(score)]
            return {
                "split": split,
                "iou": scores,
                "miou": float(np.mean(found)),
            }
    return {}
