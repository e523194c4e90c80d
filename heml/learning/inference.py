"""Embed images with a trained node."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from heml.learning.inputs import NodeImages, prepare


@torch.inference_mode()
def embed(
    network: nn.Module, images: NodeImages, rows: NDArray[np.int64], device: torch.device, batch_size: int = 128
) -> torch.Tensor:
    """Embeddings of the given rows, (len(rows), D) float32 on the CPU; the network is left in evaluation mode."""
    network.eval()
    found = []
    for start in range(0, len(rows), batch_size):
        pixels, masks = images.batch(rows[start : start + batch_size])
        found.append(network(prepare(pixels.to(device), masks.to(device))).float().cpu())
    return torch.cat(found) if found else torch.zeros(0, 2)
