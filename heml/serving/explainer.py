"""What the server answers: photographs and pairs, in the words of the page's own data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from heml.distances import standardise
from heml.errors import HemlError, shown
from heml.explanation.views import View
from heml.images.canvas import lay_image
from heml.images.decoding import decode_image
from heml.reporting.explorer import NEIGHBOURS, told_pair
from heml.reporting.finished import Finished
from heml.reporting.inline import webp_uri
from heml.reporting.photographs import SIDE, fine_outline, larger
from heml.segmentation.segment import segmenter_classes

KEPT = 20
"""Photographs that are held in memory; one more, and the oldest is forgotten."""
NAME = 120
"""Characters of a photograph's name that are kept."""
SPLIT = "yours"
"""Of photographs, beside the data set's own splits."""


class Forgotten(HemlError):
    """A photograph that is no longer held."""


class Explainer:
    """A run, and the photographs that were shown to it. Not for several threads at once."""

    def __init__(self, finished: Finished, data: dict[str, Any], kept: int = KEPT) -> None:
        """Args:
        data: the page's (`heml.reporting.explorer.explorer`), by whose numbers images are named.
        """
        self.tree, self.gallery, self.kept = finished.metric, finished.gallery, kept
        self.max_megapixels: float = finished.params.dataset.most_megapixels
        self.rows = [finished.gallery.row(image["id"]) for image in data["images"]]
        self.order = [node["name"] for node in data["nodes"]]
        self.leaves: list[str] = data["leaves"]
        self.photographs: dict[int, View] = {}
        """By their numbers, which follow those of the page's images."""
        self._next = len(self.rows)
        searched = "test" if finished.params.evaluate.search == "within" else "train"
        self._searched = np.flatnonzero(self.gallery.canvases.splits[self.rows] == searched)
        rows = np.array(self.rows)[self._searched]
        self._standard = {name: standardise(stored.vectors[rows]) for name, stored in self.gallery.embeddings.items()}
        masks, _ = segmenter_classes(self.tree.run.segmenter)
        self.segments = not masks
        """Whether the run can find parts in a new photograph; the data set's own masks alone cannot."""

    def warm(self) -> None:
        """Load and run once all that an answer needs, so that the first is as quick as the others."""
        for name in self.order:
            self.tree.network(name)
        if self.segments:
            self.tree.look([Image.new("RGB", (8, 8))], [""])
        if len(self.rows) > 1:
            self.pair(0, 1)

    def add(self, data: bytes, name: str) -> dict[str, Any]:
        """Segment, embed and hold a photograph, and say of it what the page has of an image.

        Args:
            data: an encoded image.
            name: whatever it is called; it is shown, and nothing else.

        Raises:
            BadImage: no readable image, or too many pixels.
            HemlError: the run cannot segment.
        """
        name = shown(name[:NAME]).strip() or "photograph"
        picture = decode_image(data, name, self.max_megapixels)
        ((view, labelmap),) = self.tree.look([picture], [name])
        number, self._next = self._next, self._next + 1
        self.photographs[number] = view
        for oldest in list(self.photographs)[: -self.kept]:
            del self.photographs[oldest]
        large = larger(self.tree.root.canvas, SIDE)
        classes, parts = self.tree.segmenter.classes, self.gallery.partitions
        # its name is nobody's here
        by_tree = self.gallery.distances(View("", view.canvas, view.masks, view.vectors), self.tree.metric)
        return {
            "number": number,
            "held": list(self.photographs),
            "image": {"id": name, "split": SPLIT, "label": None},
            "photo": webp_uri(lay_image(picture, large)),
            "outlines": [
                fine_outline(labelmap, parts[leaf], classes, large) if view.masks[leaf].any() else ""
                for leaf in self.leaves
            ],
            "pixels": [int(view.masks[leaf].sum()) for leaf in self.leaves],
            "near": [self._nearest((1 - self._standard[n] @ standardise(view.vectors[n])) / 2) for n in self.order],
            "nearWhole": self._nearest(by_tree[np.array(self.rows)[self._searched]]),
        }

    def pair(self, first: int, second: int) -> dict[str, Any]:
        """Why two images are the same or different to the tree, and what would have to change: what the page has of a
        listed pair.

        Args:
            first, second: numbers of the page's images, or of photographs.

        Raises:
            HemlError: no such image, or no longer.
        """
        a, b = self._view(first), self._view(second)
        return told_pair(self.tree.explain(a, b), self.tree.counterfactual(a, b), self.order)

    def _view(self, number: int) -> View:
        if 0 <= number < len(self.rows):
            return self.gallery.view(self.rows[number])
        if number in self.photographs:
            return self.photographs[number]
        if number < 0 or number >= self._next:
            raise HemlError(f"{number}: no image has this number")
        raise Forgotten(f"that photograph is no longer held: only the last {self.kept} are; choose its file again")

    def _nearest(self, distances: torch.Tensor) -> list[int]:
        """Numbers of the nearest of the images that are searched.

        Args:
            distances: to each of them; NaN where there is none.
        """
        order = distances.nan_to_num(torch.inf).argsort(stable=True)[: min(NEIGHBOURS, int(distances.isfinite().sum()))]
        return [int(number) for number in self._searched[order.numpy()]]
