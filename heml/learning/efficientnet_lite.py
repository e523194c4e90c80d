"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6, a fixed stem and head; ImageNet 75.1
%.

Described in TensorFlow's model repository (tpu/models/official/efficientnet/lite). Its convolutions pad as TensorFlow's
"SAME": at stride 2 the odd pixel is on the right and below.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

_STAGES = (  # expansion, output channels, repeats, first stride, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class SameConv2d(nn.Conv2d):
    """A convolution whose output is ceil(input / stride) in size, padded more on the right and below where it must
    be."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → (B, C', ceil(h / stride), ceil(w / stride))."""
        (k, _), (s, _) = self.kernel_size, self.stride
        total = [max((-(-size // s) - 1) * s + k - size, 0) for size in input.shape[-2:]]
        (high, wide) = total
        return super().forward(F.pad(input, (wide // 2, wide - wide // 2, high // 2, high - high // 2)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Expand, convolve per channel, project; added to the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = (
            nn.Sequential()
            if expansion == 1
            else nn.Sequential(nn.Conv2d(inputs, wide, 1, bias=False), _norm(wide), nn.ReLU6())
        )
        self.depthwise = nn.Sequential(
            SameConv2d(wide, wide, kernel, stride, groups=wide, bias=False), _norm(wide), nn.ReLU6()
        )
        self.project = nn.Sequential(nn.Conv2d(wide, outputs, 1, bias=False), _norm(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → (B, C', h', w')."""
        y: torch.Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The trunk: (B, 3, h, w) → (B, 1280, ceil(h / 32), ceil(w / 32))."""

    name = "efficientnet_lite0"

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(SameConv2d(3, 32, 3, 2, bias=False), _norm(32), nn.ReLU6())
        blocks, inputs = [], 32
        for expansion, outputs, repeats, stride, kernel in _STAGES:
            for i in range(repeats):
                blocks.append(Block(inputs, outputs, expansion, stride if i == 0 else 1, kernel))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Conv2d(inputs, 1280, 1, bias=False), _norm(1280), nn.ReLU6())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) prepared images → (B, 1280, h', w')."""
        y: torch.Tensor = self.head(self.blocks(self.stem(x)))
        return y


_PARTS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}
_ENDS = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1"}


def from_published(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The published weights' names to this module's; names of this module stay, the classifier is dropped."""
    renamed = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        if part == "_blocks":
            number, part, rest = rest.split(".", 2)
            renamed[f"blocks.{number}.{_PARTS[part]}.{rest}"] = value
        elif part in _ENDS:
            renamed[f"{_ENDS[part]}.{rest}"] = value
        elif part != "_fc":
            renamed[key] = value
    return renamed
