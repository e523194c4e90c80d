"""One image as a metric tree sees it: its pixels, its segments, and its embedding at every node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from heml.errors import HemlError
from heml.evaluation.embeddings import NodeEmbeddings, read_all
from heml.evaluation.tree_metric import TreeMetric
from heml.explanation.pictures import grey_out
from heml.images.canvas import Canvases, load_canvases
from heml.learning.inputs import Box
from heml.run import Run
from heml.segments.manifest import Partition, read_manifest
from heml.tree import Tree


@dataclass(frozen=True)
class View:
    """One image as a tree sees it."""

    name: str
    """The image_id, or the file's name."""
    canvas: NDArray[np.uint8]
    """(H, W, 3)"""
    masks: Mapping[str, NDArray[np.bool_]]
    """Segment → (H, W); all false where it is absent."""
    vectors: Mapping[str, torch.Tensor]
    """Node → (D,) float32 on the CPU, NaN where the node is absent."""

    def has(self, node: str) -> bool:
        """Whether the image shows anything of a node."""
        return bool(self.vectors[node].isfinite().all())

    def seen(self, leaves: Sequence[str]) -> NDArray[np.bool_]:
        """The union of some segments, (H, W)."""
        found: NDArray[np.bool_] = np.logical_or.reduce([self.masks[leaf] for leaf in leaves])
        return found

    def picture(self, leaves: Sequence[str], box: Box) -> NDArray[np.uint8]:
        """What a node with these leaves and this box sees, (h, w, 3), everything else greyed out."""
        x0, y0, x1, y1 = box
        return grey_out(self.canvas[y0:y1, x0:x1], self.seen(leaves)[y0:y1, x0:x1])


class Gallery:
    """The images of the data set as views: canvases, segments and embeddings of a finished run."""

    def __init__(self, run: Run, tree: Tree) -> None:
        self.run = run
        self.tree = tree
        self._vectors: tuple[TreeMetric, torch.Tensor] | None = None

    @cached_property
    def canvases(self) -> Canvases:
        """All canvases, memory-mapped."""
        return load_canvases(self.run.canvases)

    @cached_property
    def embeddings(self) -> dict[str, NodeEmbeddings]:
        """Of every node."""
        return read_all(self.run.embeddings, self.tree)

    @cached_property
    def partitions(self) -> dict[str, Partition]:
        """The manifest of every leaf."""
        return {leaf: read_manifest(self.run.segments, leaf) for leaf in self.tree.leaves(self.tree.root)}

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.embeddings[self.tree.root].image_ids)}

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._rows

    def row(self, image_id: str) -> int:
        """The row of an image.

        Raises:
            HemlError: no such image.
        """
        if image_id not in self._rows:
            example = next(iter(self._rows))
            raise HemlError(
                f"image_id {image_id!r}: not in the data set ({len(self._rows)} images, such as {example!r})"
            )
        return self._rows[image_id]

    def view(self, row: int) -> View:
        """The image of a row."""
        masks = {leaf: part.mask(row) for leaf, part in self.partitions.items()}
        vectors = {name: stored.vectors[row] for name, stored in self.embeddings.items()}
        return View(self.canvases.image_ids[row], np.asarray(self.canvases.pixels[row]), masks, vectors)

    def vectors(self, metric: TreeMetric) -> torch.Tensor:
        """Every image as one vector of the tree's metric, (N, W); made once."""
        if self._vectors is None or self._vectors[0] is not metric:
            self._vectors = (metric, metric.vectors(self.embeddings))
        return self._vectors[1]

    def distances(self, view: View, metric: TreeMetric) -> torch.Tensor:
        """The tree's distance of a view to every image, (N,); NaN to images that share no node with it, and to
        itself."""
        own = {name: vector[None] for name, vector in view.vectors.items()}
        apart = metric.metric(metric.vectors(own), self.vectors(metric))[0]  # type: ignore[operator]
        shared = np.logical_or.reduce(
            [self.embeddings[n].present & view.has(n) for n, term in metric.terms.items() if term.weight]
        )
        apart[~torch.from_numpy(shared)] = torch.nan
        if view.name in self:
            apart[self.row(view.name)] = torch.nan
        return apart

    def foil(self, first: View, second: View, metric: TreeMetric) -> View | None:
        """The image nearest to the first that the tree calls unlike the second; None where there is none."""
        near, apart = self.distances(first, metric), self.distances(second, metric)
        near[~(apart > metric.threshold)] = torch.nan
        order = near.nan_to_num(torch.inf).argsort(stable=True)
        return self.view(int(order[0])) if near.isfinite().any() else None

    def find(self, image_id: str) -> View:
        """The image of that id.

        Raises:
            HemlError: no such image.
        """
        return self.view(self.row(image_id))
