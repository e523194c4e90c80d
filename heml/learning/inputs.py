"""A node's input: every canvas, masked to the union of the node's segments and cropped to where they occur.

The crop is one box per node, so position within it keeps its meaning, and a trunk sees eyes at 16×32 instead of a
mostly empty 64×64. An image in which no segment of the node is present is *absent* for the node: it is in no batch, no
search and no score of that node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from heml.errors import HemlError
from heml.images.canvas import load_canvases
from heml.images.imagenet import MEAN, STD
from heml.learning.recipes import KEPT, Recomposed, read_recipes
from heml.params import Canvas, Segment
from heml.run import Run
from heml.segments.manifest import read_manifest
from heml.segments.masks import unpack_mask

MIN_SIDE = 16
"""Smallest side of a box, pixels: below it a trunk's last feature map is a single cell."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class NodeImages:
    """The images of one node, N in stored order; pixels stay on disk until a batch asks for them."""

    pixels: NDArray[np.uint8]
    """(N, H, W, 3), memory-mapped."""
    packed: NDArray[np.uint8]
    """(N, ceil(H·W/8)): the union of the segments' masks, bit-packed."""
    present: NDArray[np.bool_]
    """(N,): whether any pixel of the node lies in the box."""
    box: Box
    """(x0, y0, x1, y1) canvas pixels."""
    image_ids: list[str] = field(repr=False)
    splits: NDArray[np.str_] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    canvas: Canvas
    segments: dict[str, Segment] = field(repr=False)
    """How each leaf's segment was cut."""
    classes: int
    """Values of the label, over all splits."""
    area: float
    """Mean share of the canvas that the segments cover in `train`, absent images counting 0."""

    recomposed: tuple[Recomposed, ...] = field(default=(), repr=False)
    """Segments that training exchanges between images."""
    rest: NDArray[np.uint8] | None = field(default=None, repr=False)
    """(N, ceil(H·W/8)): the union of the other segments' masks."""

    resident: tuple[torch.Tensor, torch.Tensor] | None = field(default=None, repr=False)
    """All batches in one, on a GPU (`on`)."""

    def batch(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (B, 3, h, w) uint8 and masks (B, 1, h, w) uint8 (0 or 1) of the given rows, cropped to the box."""
        if self.resident is not None:
            at = torch.from_numpy(rows).to(self.resident[0].device)
            return self.resident[0][at], self.resident[1][at]
        x0, y0, x1, y1 = self.box
        height, width = self.pixels.shape[1:3]
        pixels = self.pixels[rows, y0:y1, x0:x1]  # (B, h, w, 3)
        masks = np.unpackbits(self.packed[rows], axis=1, count=height * width).reshape(-1, height, width)
        crop = np.ascontiguousarray(masks[:, None, y0:y1, x0:x1])
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))), torch.from_numpy(crop)

    def training_batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """As `batch`, with segments exchanged where there are recipes for it. An image that would show nothing then
        stays as it is."""
        pixels, masks = self.batch(rows)
        if not self.recomposed:
            return pixels, masks
        x0, y0, x1, y1 = self.box
        shape = self.pixels.shape[1], self.pixels.shape[2]
        for i, row in enumerate(rows.tolist()):
            found = self._recompose(row, shape, rng)
            if found is not None:
                image, seen = found
                pixels[i] = torch.from_numpy(np.ascontiguousarray(image[y0:y1, x0:x1].transpose(2, 0, 1)))
                masks[i, 0] = torch.from_numpy(seen[y0:y1, x0:x1].astype(np.uint8))
        return pixels, masks

    def _recompose(
        self, row: int, shape: tuple[int, int], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
        """One image with its segments exchanged, as `made`; None where no recipe leaves anything to see."""
        x0, y0, x1, y1 = self.box
        for _ in range(4 * len(self.recomposed)):
            recipes = [part.recipes for part in self.recomposed]
            draws = [int(rng.integers(r.donors.shape[1])) if rng.random() < r.rate else KEPT for r in recipes]
            image, seen = self.made(row, shape, draws)
            if seen[y0:y1, x0:x1].any():
                return image, seen
        return None

    def made(
        self, row: int, shape: tuple[int, int], draws: Sequence[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """One image by some recipes: pixels (H, W, 3), and what is seen of it, (H, W).

        Args:
            draws: of each of `recomposed`, which of its recipes; `KEPT`: none.
        """
        assert self.rest is not None
        image, seen = np.array(self.pixels[row]), unpack_mask(self.rest[row].tobytes(), shape)
        for part, draw in zip(self.recomposed, draws, strict=True):
            given, mask = part.make(row, draw, self.pixels, shape)
            if given is not None:
                image[mask] = given[mask]
            seen |= mask
        return image, seen

    def on(self, device: torch.device, share: float = 0.5) -> NodeImages:
        """The same images for training on a device: on a GPU all of them lie there from the start, if they take no more
        than this share of what is free; else, and on a CPU, batches come from disk.
        """
        if device.type == "cpu" or self.resident is not None or self.recomposed:
            return self
        height, width = self.size
        fits = len(self.present) * height * width * 4 <= share * torch.cuda.mem_get_info(device)[0]
        return self.held_by(device) if fits else self

    def held_by(self, device: torch.device) -> NodeImages:
        """The same images, all of them in a device's memory."""
        every = np.arange(len(self.present))
        parts = [self.batch(every[start : start + 1024]) for start in range(0, len(every), 1024)]
        pixels, masks = (torch.cat([part.to(device) for part in column]) for column in zip(*parts, strict=True))
        return replace(self, resident=(pixels, masks))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the box."""
        return self.box[3] - self.box[1], self.box[2] - self.box[0]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of a split in which the node is present."""
        return np.flatnonzero((self.splits == split) & self.present)


def compose(
    leaves: Sequence[str],
    run: Run,
    box: Box | None = None,
    start: int = 0,
    stop: int | None = None,
    recompose: bool = False,
) -> NodeImages:
    """The images of a node that stands on `leaves`.

    Args:
        box: the box of a trained node; by default it is found from the training images.
        start, stop: only these rows; of a trained node.
        recompose: whether training exchanges segments by the run's recipes.

    Raises:
        HemlError: canvases and manifest do not belong together, or no segment is present in any training image.
    """
    stored = load_canvases(run.canvases, start, stop)
    height, width = stored.pixels.shape[1:3]
    packed = np.zeros((len(stored.image_ids), -(-height * width // 8)), np.uint8)
    boxes = np.full((len(packed), 4), (width, height, 0, 0), np.int64)  # empty: min and max leave it neutral
    there = np.zeros(len(packed), bool)
    parts = {leaf: read_manifest(run.segments, leaf, start, stop) for leaf in leaves}
    for leaf, part in parts.items():
        if part.image_ids != stored.image_ids or part.shape != (height, width):
            raise HemlError(
                f"{run.segment(leaf)}: made from other images or another canvas; run `dvc repro manifest@{leaf}`"
            )
        packed |= part.packed
        there |= part.present
        boxes[part.present, :2] = np.minimum(boxes[part.present, :2], part.boxes[part.present, :2])
        boxes[part.present, 2:] = np.maximum(boxes[part.present, 2:], part.boxes[part.present, 2:])
    made = {leaf: read_recipes(run.recipe(leaf), stored.image_ids) for leaf in leaves} if recompose else {}
    train = stored.splits == "train"
    if box is None and not (there & train).any():
        raise HemlError(f"segments {', '.join(leaves)}: present in no training image")
    box = box or find_box(boxes[there & train], (height, width))
    area, inside = _measure(packed, box, (height, width))
    return NodeImages(
        pixels=stored.pixels,
        packed=packed,
        present=inside,
        box=box,
        image_ids=stored.image_ids,
        splits=stored.splits,
        labels=stored.labels,
        canvas=parts[leaves[0]].canvas,
        classes=int(stored.labels.max(initial=0)) + 1,
        segments={leaf: part.definition for leaf, part in parts.items()},
        area=float(area[train].mean()) if train.any() else 0.0,
        recomposed=tuple(
            Recomposed(parts[leaf].packed, parts[leaf].boxes, found) for leaf, found in made.items() if found
        ),
        rest=np.bitwise_or.reduce(
            [np.zeros_like(packed), *(part.packed for leaf, part in parts.items() if not made.get(leaf))]
        )
        if any(made.values())
        else None,
    )


def uncovered(images: NodeImages) -> NodeImages:
    """The same images with nothing masked out, at full size."""
    height, width = images.pixels.shape[1:3]
    return replace(images, packed=np.full_like(images.packed, 0xFF), box=(0, 0, width, height), area=1.0)


def _measure(
    packed: NDArray[np.uint8], box: Box, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Per image the share of the canvas covered, and whether any covered pixel lies in the box."""
    x0, y0, x1, y1 = box
    area, inside = np.zeros(len(packed)), np.zeros(len(packed), bool)
    for start in range(0, len(packed), 1024):
        masks = np.unpackbits(packed[start : start + 1024], axis=1, count=shape[0] * shape[1]).reshape(-1, *shape)
        area[start : start + 1024] = masks.mean((1, 2))
        inside[start : start + 1024] = masks[:, y0:y1, x0:x1].any((1, 2))
    return area, inside


def find_box(boxes: NDArray[np.int64], shape: tuple[int, int]) -> Box:
    """The box that holds the segment in all but the oddest images: each side at the outermost 1 % of `boxes`.

    One stray pixel of a mis-segmented image would otherwise blow the box up for all. Sides are at least `MIN_SIDE`
    and grow to a multiple of 8 where the canvas has room.

    Args:
        boxes: (N, 4) x0, y0, x1, y1.
        shape: (H, W) of the canvas.
    """
    low = np.quantile(boxes[:, :2], 0.01, axis=0, method="lower")
    high = np.quantile(boxes[:, 2:], 0.99, axis=0, method="higher")
    sides = []
    for a, b, limit in zip(low, high, (shape[1], shape[0]), strict=True):
        length = min(max(-(-int(b - a) // 8) * 8, MIN_SIDE), limit)
        start = min(max(int((a + b - length) // 2), 0), limit - length)
        sides.append((start, start + length))
    (x0, x1), (y0, y1) = sides
    return x0, y0, x1, y1


def normalise(x: torch.Tensor) -> torch.Tensor:
    """(B, 3, h, w) in [0, 1] to mean 0 and standard deviation 1 over ImageNet."""
    mean, std = _statistics(x.device)
    return (x - mean) / std


def restore(x: torch.Tensor) -> torch.Tensor:
    """The inverse of `normalise`."""
    mean, std = _statistics(x.device)
    return x * std + mean


def _statistics(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(MEAN, device=device).view(1, 3, 1, 1), torch.tensor(STD, device=device).view(1, 3, 1, 1)


def prepare(pixels: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Normalise, and set what lies outside the mask to 0, the mean colour: (B, 3, h, w) float32.

    Black would be indistinguishable from dark hair.

    Args:
        pixels: (B, 3, h, w) uint8.
        masks: (B, 1, h, w) uint8, 0 or 1.
    """
    return normalise(pixels.float() / 255) * masks


def prepared_batches(
    images: NodeImages, rows: NDArray[np.int64], device: torch.device, size: int = 64
) -> Iterator[torch.Tensor]:
    """Prepared batches of the given rows in their order; one of a single image, of which BatchNorm learns nothing, is
    left out."""
    for start in range(0, len(rows), size):
        pixels, masks = images.batch(rows[start : start + size])
        if len(pixels) > 1:
            yield prepare(pixels.to(device), masks.to(device))
