"""Augmented training inputs, made on the device of the images.

Masking comes first, so whatever moves the image moves its mask, and no colour from outside the segment gets in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F

from heml.learning.inputs import normalise, prepare, restore
from heml.params import Segment, Train

Draw = Callable[[float, float], torch.Tensor]
"""One number per image, (B,), evenly between two."""


def may_flip(segments: Mapping[str, Segment]) -> bool:
    """Whether a mirrored image shows the same segments: for each that has a mirror image, the node holds both."""
    return all(segment.mirror is None or segment.mirror in segments for segment in segments.values())


def augment(
    pixels: torch.Tensor, masks: torch.Tensor, settings: Train, flip: bool, generator: torch.Generator
) -> torch.Tensor:
    """A batch as training sees it: changed in shape and colour, normalised, 0 outside the mask.

    Args:
        pixels: (B, 3, h, w) uint8.
        masks: (B, 1, h, w) uint8, 0 or 1.
        flip: whether mirroring is allowed.
        generator: on the CPU, so that a seed means the same on every device.

    Returns:
        (B, 3, h, w) float32.
    """

    def draw(low: float, high: float) -> torch.Tensor:
        return (torch.rand(b, generator=generator) * (high - low) + low).to(pixels.device)

    b = len(pixels)
    plain = x = prepare(pixels, masks)
    if settings.color:
        x = _colour(x, masks, *(draw(1 - settings.color, 1 + settings.color) for _ in range(3)))
    if settings.blur:
        x = _blur(x, torch.where(draw(0, 1) < 0.5, draw(0, settings.blur), 0.0), settings.blur) * masks
    if flip:
        x = torch.where((draw(0, 1) < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)
    if settings.rotate or settings.crop:
        turn, scale = math.radians(settings.rotate), draw(1 - settings.crop, 1)
        dx, dy = draw(-1, 1) * (1 - scale), draw(-1, 1) * (1 - scale)
        x = _turn_and_crop(x, draw(-turn, turn), scale, dx, dy)
    if settings.erase:
        x = _erase(x, draw, settings.erase)
    x = _shift(x, settings.shift, generator)
    return torch.where((x != 0).flatten(1).any(1).view(-1, 1, 1, 1), x, plain)  # nothing left of the segment: as it was


def _colour(
    x: torch.Tensor, masks: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, saturation: torch.Tensor
) -> torch.Tensor:
    """Times brightness; contrast about the segment's mean; saturation about each pixel's grey (ITU-R BT.601)."""
    b, c, s = (factor.view(-1, 1, 1, 1) for factor in (brightness, contrast, saturation))
    pixels = restore(x) * b
    mean = (pixels * masks).sum((1, 2, 3), keepdim=True) / (3 * masks.sum((1, 2, 3), keepdim=True)).clamp_min(1)
    pixels = (pixels - mean) * c + mean
    grey = (pixels * torch.tensor([0.299, 0.587, 0.114], device=x.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return normalise(((pixels - grey) * s + grey).clamp(0, 1)) * masks


def _blur(x: torch.Tensor, sigma: torch.Tensor, most: float) -> torch.Tensor:
    """Gaussian blur of every image with its own standard deviation, at most `most` pixels; 0 leaves it as it is."""
    b, c, h, w = x.shape
    # of the largest that may be: to read the largest drawn would make a GPU wait
    radius = min(math.ceil(3 * most), h - 1, w - 1)
    if radius < 1:
        return x
    at = torch.arange(-radius, radius + 1, device=x.device)
    kernel = torch.exp(-0.5 * (at / sigma.clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)  # (B·C, K)
    padded = F.pad(x, (radius,) * 4, "reflect").reshape(1, b * c, h + 2 * radius, w + 2 * radius)
    padded = F.conv2d(padded, kernel[:, None, :, None], groups=b * c)
    return F.conv2d(padded, kernel[:, None, None, :], groups=b * c).view(b, c, h, w)


def _turn_and_crop(
    x: torch.Tensor, angle: torch.Tensor, scale: torch.Tensor, dx: torch.Tensor, dy: torch.Tensor
) -> torch.Tensor:
    """Show a turned part of every image at full size.

    Args:
        angle: (B,) counter-clockwise, radians.
        scale: (B,) side of the part, as a fraction of the image's.
        dx, dy: (B,) its centre's distance from the image's, in halves of the image's width and height.
    """
    h, w = x.shape[-2:]
    cos, sin = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack([torch.stack([cos, -sin * h / w, dx], 1), torch.stack([sin * w / h, cos, dy], 1)], 1)
    return F.grid_sample(
        x, F.affine_grid(theta, list(x.shape), align_corners=False), "bilinear", "zeros", align_corners=False
    )


def _erase(x: torch.Tensor, draw: Draw, probability: float) -> torch.Tensor:
    """Set a rectangle of 2 to 33 % of the area, sides between 1:3 and 3:1, to 0 (Zhong et al., AAAI 2020)."""
    h, w = x.shape[-2:]
    area, ratio = draw(0.02, 0.33) * h * w, draw(-math.log(3), math.log(3)).exp()
    high, wide = (area * ratio).sqrt().clamp(1, h), (area / ratio).sqrt().clamp(1, w)
    top, left = draw(0, 1) * (h - high), draw(0, 1) * (w - wide)
    chosen = draw(0, 1) < probability
    ys, xs = torch.arange(h, device=x.device) + 0.5, torch.arange(w, device=x.device) + 0.5
    inside_y = (ys >= top[:, None]) & (ys < (top + high)[:, None])
    inside_x = (xs >= left[:, None]) & (xs < (left + wide)[:, None])
    erased = inside_y[:, :, None] & inside_x[:, None, :] & chosen[:, None, None]
    return x * ~erased[:, None]


def _shift(x: torch.Tensor, shift: float, generator: torch.Generator) -> torch.Tensor:
    """Move every image by whole pixels; what comes in is 0, the masked-out value."""
    b, _, h, w = x.shape
    dy, dx = round(shift * h), round(shift * w)
    if not (dx or dy):
        return x
    padded = F.pad(x, (dx, dx, dy, dy))
    ys = torch.randint(0, 2 * dy + 1, (b,), generator=generator).tolist()
    xs = torch.randint(0, 2 * dx + 1, (b,), generator=generator).tolist()
    return torch.stack([padded[i, :, y : y + h, z : z + w] for i, (y, z) in enumerate(zip(ys, xs, strict=True))])
