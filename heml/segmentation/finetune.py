"""Fit a SegFormer to a data set's masks: class-weighted, augmented, best epoch by mIoU on `val`, resumable."""

from __future__ import annotations

import copy
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from heml import params as P
from heml.atomic import new_file
from heml.errors import HemlError, out_of_memory
from heml.images.void import VOID
from heml.progress import progress
from heml.segmentation.iou import iou
from heml.segmentation.model import Segmenter, normalise
from heml.segmentation.predict import evaluate_segmenter
from heml.segmentation.samples import LabelledImages


def class_weights(masks: NDArray[np.uint8], classes: int, power: float) -> torch.Tensor:
    """Weight per class, (C,) float32 with mean 1 over the pixels that are not void: (1 / share of them) ** power.

    A class that no mask has gets 0: there is nothing to learn it from.
    """
    counts = np.bincount(masks.ravel(), minlength=classes)[:classes]
    share = counts / counts.sum()
    weights = np.divide(1.0, share, out=np.zeros(classes), where=share > 0) ** power * (share > 0)
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)


def segmentation_loss(logits: torch.Tensor, masks: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy plus (1 − soft Dice) over the classes a batch holds: the first learns, the second sharpens
    the rare and thin, whose pixels hardly count in an average. Both compare with the masks at half their size, as each
    class's share of four pixels: a quarter of the cost of full size, and no half-pixel shift as from dropping pixels.
    Void pixels are in neither, whatever the network says of them.

    Args:
        logits: (B, C, h, w) at any size.
        masks: (B, H, W) int64.
        weights: (C,).
    """
    classes = torch.arange(logits.shape[1], device=masks.device).view(1, -1, 1, 1)
    truth = F.avg_pool2d((masks[:, None] == classes).float(), 2)  # (B, C, H/2, W/2)
    log_shares = F.interpolate(logits.float(), truth.shape[-2:], mode="bilinear", align_corners=False).log_softmax(1)
    weight = truth.sum((0, 2, 3)) @ weights
    entropy = -(truth * log_shares * weights[:, None, None]).sum() / weight.clamp(min=1e-12)
    shares = log_shares.exp() * truth.sum(1, keepdim=True)  # of four pixels those that are not void
    inter, size = (shares * truth).sum((0, 2, 3)), truth.sum((0, 2, 3))
    there = size > 0
    dice = (2 * inter[there] + 1) / (shares.sum((0, 2, 3))[there] + size[there] + 1)
    return entropy + 1 - dice.mean() if len(dice) else entropy


def augment(x: torch.Tensor, masks: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale, shift and turn image and mask alike; change the image's brightness, contrast and colour.

    Args:
        x: (B, 3, H, W) float in [0, 1].
        masks: (B, H, W) int64.
    """
    b, device = len(x), x.device

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return (torch.rand(*shape, generator=generator) * (high - low) + low).to(device)

    angle, scale = uniform(-0.17, 0.17, b), uniform(0.8, 1.15, b)
    theta = torch.zeros(b, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1] = angle.cos() * scale, angle.cos() * scale
    theta[:, 0, 1], theta[:, 1, 0] = -angle.sin() * scale, angle.sin() * scale
    theta[:, :, 2] = uniform(-0.1, 0.1, b, 2)
    grid = F.affine_grid(theta, [b, 1, *x.shape[-2:]], align_corners=False)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    moved = F.grid_sample(masks[:, None].float(), grid, mode="nearest", padding_mode="reflection", align_corners=False)
    x = x * uniform(0.75, 1.25, b, 1, 1, 1) * uniform(0.9, 1.1, b, 3, 1, 1)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * uniform(0.8, 1.2, b, 1, 1, 1) + mean
    return x.clamp(0, 1), moved[:, 0].long()


CODE = ("finetune", "iou", "model", "predict", "preprocessing", "samples")
"""Modules beside this one that decide what a fit comes to."""


def code_fingerprint() -> str:
    """SHA-256 of the code of a fit, and of the library that does the arithmetic."""
    digest = hashlib.sha256(torch.__version__.encode())
    for name in CODE:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()


def _fingerprint(settings: P.Segmenter, start: Mapping[str, torch.Tensor], data: Sequence[LabelledImages]) -> str:
    """Of everything that the state after an epoch depends on."""
    digest = hashlib.sha256(settings.model_dump_json().encode() + code_fingerprint().encode())
    for value in start.values():
        digest.update(value.cpu().numpy().tobytes())
    for split in data:
        digest.update(split.images.tobytes())
        digest.update(split.masks.tobytes())
    return digest.hexdigest()[:16]


class _Checkpoint:
    """The state after each epoch, in a file named by code, settings, start and data, so that a stale one is never
    picked up."""

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"segmenter-{key}.pt"

    def load(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            if out_of_memory(error):
                raise
            print(f"{self.path}: cannot be read and is discarded; the fit begins anew", file=sys.stderr)
            self.path.unlink()
            return None
        return state

    def save(self, state: dict[str, Any]) -> None:
        with new_file(self.path) as partial:
            torch.save(state, partial)

    def remove(self) -> None:
        for path in self.path.parent.glob("segmenter-*.pt"):  # those of other keys are of fits that nobody goes on with
            path.unlink()
        if self.path.parent.is_dir() and not any(self.path.parent.iterdir()):
            shutil.rmtree(self.path.parent)


def _batches(n: int, batch_size: int, generator: torch.Generator) -> Iterator[NDArray[np.int64]]:
    order = torch.randperm(n, generator=generator).numpy()
    for start in range(0, max(n - batch_size // 2, 1), batch_size):
        yield order[start : start + batch_size]


def finetune(
    segmenter: Segmenter,
    splits: dict[str, LabelledImages],
    settings: P.Segmenter,
    device: torch.device,
    checkpoints: Path,
) -> tuple[Segmenter, list[dict[str, float]]]:
    """Train in place and return the network of the best epoch, with the history (loss, val mIoU and seconds per epoch).

    An interrupted run goes on after its last whole epoch and ends with the weights it would have had anyway.

    Raises:
        HemlError: no masks in train or val, or nothing but void in them, a loss that is not finite.
    """
    for split in ("train", "val"):
        if split not in splits:
            raise HemlError(f"segmenter.source finetune: no image in split {split!r} has a mask")
        if (splits[split].masks == VOID).all():
            raise HemlError(
                f"segmenter.source finetune: the masks in split {split!r} are void ({VOID}) throughout: there is"
                " nothing to learn"
            )
    train, val = splits["train"], splits["val"]
    network: nn.Module = segmenter.network.to(device)
    weights = class_weights(train.masks, len(segmenter.classes), settings.class_weight_power).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=0.01, fused=True)
    steps = sum(1 for _ in _batches(len(train), settings.batch_size, torch.Generator()))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.lr, total_steps=steps * settings.epochs, pct_start=0.15
    )

    best, best_miou, history, first = copy.deepcopy(network.state_dict()), -1.0, [], 0
    checkpoint = _Checkpoint(checkpoints, _fingerprint(settings, best, (train, val)))
    if state := checkpoint.load():
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        best, best_miou, history, first = state["best"], state["best_miou"], state["history"], state["epoch"] + 1

    images, masks = torch.from_numpy(train.images), torch.from_numpy(train.masks)
    for epoch in progress(range(first, settings.epochs), "segmenter", unit="epoch"):
        started = time.perf_counter()
        torch.manual_seed(settings.seed * 100_003 + epoch)  # dropout; per epoch, so that a resumed run is the same run
        generator = torch.Generator().manual_seed(settings.seed * 100_003 + epoch)
        network.train()
        losses = []
        for chosen in _batches(len(train), settings.batch_size, generator):
            x = images[chosen].to(device).permute(0, 3, 1, 2).float() / 255
            y = masks[chosen].to(device).long()
            if settings.augment:
                x, y = augment(x, y, generator)
            # early epochs at half the size: a quarter of the time, and the coarse shapes come first
            if epoch < settings.coarse * settings.epochs:
                x = F.avg_pool2d(x, 2)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = network(pixel_values=normalise(x, segmenter.preprocessing)).logits
            loss = segmentation_loss(logits, y, weights)
            if not torch.isfinite(loss):
                raise HemlError(
                    f"segmenter: the loss is {loss.item()} in epoch {epoch + 1}; lower segmenter.lr ({settings.lr:g})"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        counts = evaluate_segmenter(segmenter, val.images, val.masks, settings.batch_size, device)
        miou = float(np.nanmean(iou(counts)))
        history.append(
            {
                "epoch": epoch + 1,
                "loss": float(np.mean(losses)),
                "val_miou": miou,
                "seconds": time.perf_counter() - started,
            }
        )
        if miou > best_miou:
            best, best_miou = copy.deepcopy(network.state_dict()), miou
        # all that the next epoch depends on, so that a resumed run ends in the same bytes
        checkpoint.save(
            {
                "epoch": epoch,
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "best": best,
                "best_miou": best_miou,
                "history": history,
            }
        )
    network.load_state_dict(best)
    checkpoint.remove()
    return segmenter, history
