"""Run a SegFormer over images, batched, in bfloat16 on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from heml.images.void import VOID
from heml.segmentation.iou import confusion

if TYPE_CHECKING:  # it brings transformers
    from heml.segmentation.model import Segmenter


@torch.inference_mode()
def predict(
    segmenter: Segmenter, images: NDArray[np.uint8], device: torch.device
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Segment one batch.

    Args:
        images: (B, H, W, 3) uint8 at the size the network reads.

    Returns:
        Label maps, (B, H, W) uint8 class ids, and their probability, (B, H, W) uint8 in steps of 1/255.
    """
    x = segmenter.pixel_values(images, device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = segmenter.network(pixel_values=x).logits
    # The probabilities are interpolated, not the logits: softmax over every class at full size costs 4 to 16 times
    # more.
    shares = torch.nn.functional.interpolate(
        logits.float().softmax(1), x.shape[-2:], mode="bilinear", align_corners=False
    )
    probability, labels = shares.max(1)
    return labels.to(torch.uint8).cpu().numpy(), (probability * 255).round().to(torch.uint8).cpu().numpy()


def evaluate_segmenter(
    segmenter: Segmenter, images: NDArray[np.uint8], masks: NDArray[np.uint8], batch_size: int, device: torch.device
) -> NDArray[np.int64]:
    """Confusion counts (C, C) of the network's label maps against masks (N, H, W), where these are not void."""
    segmenter.network.eval()
    n = len(segmenter.classes)
    counts = np.zeros((n, n), np.int64)
    for start in range(0, len(images), batch_size):
        labels, _ = predict(segmenter, images[start : start + batch_size], device)
        truth = masks[start : start + batch_size]
        judged = truth != VOID
        counts += confusion(labels[judged], truth[judged], n)
    return counts
