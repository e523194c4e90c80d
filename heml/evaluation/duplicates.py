"""Near-duplicates across splits: an image of `test` that is also in `train` is no test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from heml.images.canvas import load_canvases

SIDE = 16
"""Pixels of the thumbnails compared."""

COLUMNS = ["image_a", "split_a", "image_b", "split_b", "correlation", "mirrored"]

_CHUNK = 2048


def thumbnails(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Grey thumbnails with mean 0 and length 1, (N, SIDE²) float32; of a uniform image, zeros.

    Args:
        pixels: (N, H, W, 3).
    """
    found = []
    for start in range(0, len(pixels), _CHUNK):
        grey = torch.from_numpy(np.array(pixels[start : start + _CHUNK])).float().mean(3)
        small = torch.nn.functional.adaptive_avg_pool2d(grey[:, None], SIDE).flatten(1)
        found.append(torch.nn.functional.normalize(small - small.mean(1, keepdim=True), dim=1))
    return torch.cat(found)


def near_duplicates(canvases: str | Path, least: float) -> pd.DataFrame:
    """Pairs of images of different splits whose thumbnails, mirrored or not, correlate at least `least`; the most alike
    first.

    Returns:
        A row per pair, with `COLUMNS`; the correlation is in [−1, 1], `mirrored` says that one is the other's mirror
        image.
    """
    stored = load_canvases(canvases)
    plain = thumbnails(stored.pixels)
    mirrored = plain.view(-1, SIDE, SIDE).flip(2).flatten(1)
    splits = np.unique(stored.splits, return_inverse=True)[1]
    rows = []
    for start in range(0, len(plain), _CHUNK):
        a = plain[start : start + _CHUNK]
        for flipped, others in ((False, plain), (True, mirrored)):
            alike = a @ others.T
            for i, j in torch.nonzero(alike >= least).tolist():
                if start + i < j and splits[start + i] != splits[j]:
                    rows.append((start + i, j, float(alike[i, j]), flipped))
    rows.sort(key=lambda row: (-row[2], row[0], row[1]))
    return pd.DataFrame(
        [
            (stored.image_ids[i], stored.splits[i], stored.image_ids[j], stored.splits[j], round(c, 4), m)
            for i, j, c, m in rows
        ],
        columns=COLUMNS,
    )
