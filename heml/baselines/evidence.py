"""What a method points at when it compares two images: saliency maps, and what it matches with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from heml.errors import HemlError

Point = tuple[float, float]
"""x and y as fractions of the image's width and height."""


@dataclass(frozen=True)
class Match:
    """A place in the first image, the place in the second that it is compared with, and how much that counts."""

    first: Point
    second: Point
    weight: float


@dataclass(frozen=True)
class Evidence:
    """A method's explanation of one pair of images."""

    distance: float
    """As the method ranks by: comparable within the method only."""
    maps: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    """Title → saliency of both images, (h, w) each, in [0, 1]; the most important place of the pair is 1."""
    matches: list[Match] = field(default_factory=list)


def saliency(maps: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The two images' maps, (2, h', w'), at the images' size (h, w): negative values 0, the largest of both 1."""
    large = F.interpolate(maps[:, None].float().clamp_min(0), size, mode="bilinear", align_corners=False)[:, 0].cpu()
    first, second = large / large.max().clamp_min(1e-12)
    return first, second


def cells(trunk: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the trunk's feature map for images of that size (h, w).

    Raises:
        HemlError: a single cell, in which no place can be told from another.
    """
    was_training = trunk.training
    with torch.inference_mode():
        rows, columns = trunk.eval()(torch.zeros(1, 3, *size)).shape[2:]
    trunk.train(was_training)
    if rows * columns == 1:
        raise HemlError(
            f"the trunk's feature map is a single cell for inputs of {size[0]}×{size[1]} pixels (height × width), and"
            " this method compares places: enlarge `canvas`"
        )
    return rows, columns
