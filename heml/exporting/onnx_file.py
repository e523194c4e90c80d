"""A node as ONNX: from the pixels and mask of its box to its embedding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from heml.atomic import new_file
from heml.errors import HemlError
from heml.explanation.metric_tree import MetricTree
from heml.images.imagenet import MEAN, STD

TOLERANCE = 1e-4
"""Largest difference from torch in any dimension of an embedding of length 1."""


class _Node(nn.Module):
    """(B, 3, h, w) uint8 pixels and (B, 1, h, w) uint8 masks → (B, D)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.network((pixels.float() / 255 - self.mean) / self.std * mask.float())
        return embedded


def write_onnx(tree: MetricTree, node: str, path: Path) -> float:
    """Write a node, compare it with torch in ONNX Runtime, and return the largest difference.

    Inputs `pixels` (B, 3, h, w) uint8 RGB and `mask` (B, 1, h, w) uint8 (1 inside the node's segments), the canvas
    cropped to the node's box; output `embedding` (B, D) float32. The metadata key `heml` has the node, its leaves, its
    box (x0, y0, x1, y1) and the canvas, as JSON.

    Raises:
        HemlError: the node's name is none, the extra `export` is missing, or the difference is above `TOLERANCE`; then
            nothing is written.
    """
    if not node.isidentifier():  # it comes from a file's header, and stands in `path`
        raise HemlError(f"{node!r}: no name of a node; nothing was written")
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (the exporter needs it)
    except ModuleNotFoundError as error:
        raise HemlError(f"{error.name}: not installed, and ONNX needs it; pip install 'heml[export]'") from None
    header = tree.headers[tree.tree[node].name]
    network = _Node(tree.network(node)).cpu().eval()
    x0, y0, x1, y1 = header.box
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (5, 3, y1 - y0, x1 - x0), generator=generator, dtype=torch.uint8)
    mask = torch.randint(0, 2, (5, 1, y1 - y0, x1 - x0), generator=generator, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    try:
        with new_file(path) as partial:
            torch.onnx.export(
                network,
                (pixels[:2], mask[:2]),
                str(partial),
                input_names=["pixels", "mask"],
                output_names=["embedding"],
                dynamic_shapes=({0: batch}, {0: batch}),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            model = onnx.load(str(partial))
            told = {
                "node": node,
                "leaves": header.leaves,
                "box": list(header.box),
                "canvas": header.canvas.model_dump(),
            }
            onnx.helper.set_model_props(model, {"heml": json.dumps(told)})
            onnx.save(model, str(partial))
            session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
            (found,) = session.run(None, {"pixels": pixels.numpy(), "mask": mask.numpy()})
            with torch.inference_mode():
                difference = float(np.abs(found - network(pixels, mask).numpy()).max())
            if not difference <= TOLERANCE:
                raise HemlError(
                    f"{path}: the ONNX of {node!r} differs from torch by {difference:.2g}, above {TOLERANCE:g}; nothing"
                    " was written"
                )
    finally:
        tree.network(node).to(tree.device)
    return difference
