"""A trained metric tree, ready to embed and explain images: of the data set, or never seen before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from heml.distances import Distance
from heml.errors import HemlError
from heml.evaluation.embeddings import stored_tree
from heml.evaluation.tree_metric import TreeMetric, read_metric
from heml.explanation.exchange import Counterfactual, counterfactual, embed_images, exchange
from heml.explanation.exchange import Image as Made
from heml.explanation.exchange import distances as node_distances
from heml.explanation.pairs import Explanation, explain
from heml.explanation.published import check_header, published_run
from heml.explanation.views import Gallery, View
from heml.images.canvas import lay_image
from heml.images.decoding import decode_image, to_rgb
from heml.learning.checkpoints import Header, check_lineage, load_header, load_network
from heml.learning.networks import MetricNetwork
from heml.machine import best_device
from heml.run import Run
from heml.segmentation.predict import predict
from heml.segmentation.segment import segmenter_classes
from heml.segments.labelmaps import LabelMap
from heml.segments.manifest import cut_segment
from heml.segments.masks import unpack_mask
from heml.tree import Tree

if TYPE_CHECKING:
    from heml.segmentation.model import Segmenter

Picture = str | Path | Image.Image
"""A file, an image_id of the data set, or a Pillow image."""


class MetricTree:
    """The networks of all nodes, the metric that they make up, and the segmenter that feeds them. Each is loaded when
    it is needed.

    Example:
        >>> tree = MetricTree.load("models")                     # doctest: +SKIP
        >>> print(tree.explain("a.jpg", "b.jpg"))                # doctest: +SKIP
        a.jpg and b.jpg: Different (97 %), mostly because of facial hair: 62 % of the evidence against it.
        −3.48 = the sum of all below: evidence for one label (+) or against it (−), in log-odds
        portrait  −0.91  (distance 0.31, closer than 40 % of pairs)
        ├─ upper_face  +0.12  (distance 0.012, closer than 71 % of pairs)
        ...
    """

    def __init__(self, tree: Tree, run: Run, metric: TreeMetric, gallery: Gallery | None) -> None:
        self.tree = tree
        self.run = run
        self.metric = metric
        self.gallery = gallery
        """The data set's images; None where there is no `data`."""
        self.device = best_device()
        self.headers = {node.name: load_header(run.node(node.name)) for node in tree}
        for header in self.headers.values():
            check_lineage(header, run)
        self._networks: dict[str, MetricNetwork] = {}

    @classmethod
    def load(cls, models: str | Path = "models", data: str | Path = "data") -> MetricTree:
        """Open a finished run.

        Args:
            models: the folder `models`.
            data: the folder `data`, for images by their image_id; files need none of it.

        Raises:
            HemlError: no nodes, or no metric.
        """
        run = Run(models=models, data=data)
        metric = read_metric(run.metric)
        tree = stored_tree(run, metric.terms, metric.hidden)
        gallery = Gallery(run, tree) if run.embeddings.is_dir() else None
        return cls(tree, run, metric, gallery)

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None) -> MetricTree:
        """Open a published run (`heml export hub`), for files and opened images; of a run whose segmenter is its data
        set's own masks, for views that you make of an image and its masks.

        Args:
            source: a local folder, or a hub id, owner/name, which is fetched once per machine: the tree, its segmenter,
                nothing else.
            revision: of a hub id, the commit, all 40 digits of its hash.

        Raises:
            HemlError: no such folder or repository, not to be had, no run, or one with files or names that a run does
                not have.
        """
        run, metric = published_run(source, revision)
        for name in metric.terms:
            check_header(load_header(run.node(name)), str(source))
        return cls(stored_tree(run, metric.terms, metric.hidden), run, metric, None)

    def network(self, node: str) -> MetricNetwork:
        """A node's network."""
        if node not in self._networks:
            self._networks[node] = load_network(self.run.node(self.tree[node].name), self.device)[1]
        return self._networks[node]

    @property
    def root(self) -> Header:
        """What the root says of itself."""
        return self.headers[self.tree.root]

    @cached_property
    def segmenter(self) -> Segmenter:
        """The SegFormer that cuts images that are not in the data set.

        Raises:
            HemlError: a segmenter that is only the data set's own masks and cannot segment anything new.
        """
        folder = self.run.segmenter
        masks, _ = segmenter_classes(folder)
        if masks:
            raise HemlError(
                f"{folder}: stands for the data set's own masks, which no new image has; name images of the data set by"
                " their image_id, or run with segmenter.source finetune or pretrained"
            )
        from heml.segmentation.model import load_segmenter  # brings transformers, which stored images do not need

        segmenter = load_segmenter(folder)
        segmenter.network.to(self.device).eval()
        return segmenter

    def view(self, image: Picture | View) -> View:
        """One image as the tree sees it: from a file or Pillow image through the segmenter, or as stored, by its
        image_id. A view without vectors, which is an image with masks from elsewhere, is given them.

        Raises:
            BadImage: a file that is no readable image.
            HemlError: neither a file nor an image_id.
        """
        return self.views([image])[0]

    def views(self, images: Sequence[Picture | View]) -> list[View]:
        """Several, segmented and embedded together; see `view`."""
        opened = [self._open(image) for image in images]
        new = {k: found for k, found in enumerate(opened) if isinstance(found, Image.Image)}
        names = [f"image {k + 1}" if isinstance(images[k], Image.Image) else Path(str(images[k])).name for k in new]
        segmented = (view for view, _ in self.look(list(new.values()), names)) if new else iter(())
        return [found if isinstance(found, View) else next(segmented) for found in opened]

    def _open(self, image: Picture | View) -> Image.Image | View:
        if isinstance(image, View):
            return image if image.vectors else self._embedded([image])[0]
        if isinstance(image, Image.Image):
            return to_rgb(image, "the image")
        # pathlib fails at a name that is too long to be one, as an image_id may be
        if os.path.isfile(image):  # noqa: PTH113
            return decode_image(Path(image).read_bytes(), str(image))
        if self.gallery and str(image) in self.gallery:
            return self.gallery.find(str(image))
        raise HemlError(
            f"{str(image)[:200]}: no such file, and no image of"
            f" {'the data set' if self.gallery else 'a data set: there is none here'}"
        )

    def look(self, pictures: Sequence[Image.Image], names: Sequence[str]) -> list[tuple[View, LabelMap]]:
        """New images as the tree sees them, segmented and embedded together, with what the segmenter saw."""
        pixels = np.stack([self.segmenter.resized(p) for p in pictures])
        labels, confidence = predict(self.segmenter, pixels, self.device)
        canvas = self.root.canvas
        views, maps = [], []
        for name, picture, label, sure in zip(names, pictures, labels, confidence, strict=True):
            labelmap = LabelMap(name, picture.width, picture.height, label, sure)
            masks = {leaf: self._cut(labelmap, leaf) for leaf in self.tree.leaves(self.tree.root)}
            views.append(View(name, lay_image(picture, canvas), masks, {}))
            maps.append(labelmap)
        return list(zip(self._embedded(views), maps, strict=True))

    def _embedded(self, views: Sequence[View]) -> list[View]:
        vectors = {node: self._embed(node, views) for node in self.tree.nodes}
        return [replace(view, vectors={node: v[k] for node, v in vectors.items()}) for k, view in enumerate(views)]

    def _cut(self, labelmap: LabelMap, leaf: str) -> NDArray[np.bool_]:
        segment, canvas = self.headers[leaf].segments[leaf], self.root.canvas
        ids = [self.segmenter.classes[c] for c in segment.classes]
        return unpack_mask(cut_segment(labelmap, ids, segment, canvas)["mask"], (canvas.height, canvas.width))

    def _embed(self, node: str, views: Sequence[View]) -> torch.Tensor:
        header = self.headers[node]
        x0, y0, x1, y1 = header.box
        seen = [view.seen(self.tree.sees(node)) for view in views]
        there = torch.tensor([bool(mask[y0:y1, x0:x1].any()) for mask in seen])
        vectors = torch.full((len(views), header.architecture.embedding_dim), torch.nan)
        if there.any():
            images = [(view.canvas, mask) for view, mask, t in zip(views, seen, there.tolist(), strict=True) if t]
            vectors[there] = self.made(node, images)
        return vectors

    def made(self, node: str, images: Sequence[Made]) -> torch.Tensor:
        """Embeddings of images that were made here, (N, D); NaN where nothing of the node is seen."""
        return embed_images(self.network(node), self.headers[node], images)

    def embed(self, images: Sequence[Picture | View]) -> dict[str, torch.Tensor]:
        """Embeddings of images at every node: node → (N, D) float32 on the CPU; a row is NaN where the node is
        absent."""
        views = self.views(images)
        return {name: torch.stack([view.vectors[name] for view in views]) for name in self.tree.nodes}

    def explain(self, first: Picture | View, second: Picture | View, distances: Sequence[Distance] = ()) -> Explanation:
        """The tree's decision on two images, and what every node and every part says for or against it.

        Args:
            distances: others to report beside the nodes' own.
        """
        a, b = self.views([first, second])
        return explain(a, b, self.tree, self.metric, exchange(a, b, self.tree, self.metric, self.made), distances)

    def counterfactual(self, first: Picture | View, second: Picture | View) -> Counterfactual | None:
        """What would have to change for the tree to decide otherwise; None where nothing was found.

        Where it calls the two different, the first is given segments of the second. Where it calls them the same,
        segments of the image nearest to the first that it calls unlike the second.

        Raises:
            HemlError: the two are the same to it, and there is no data set to take a third from.
        """
        a, b = self.views([first, second])
        donor = b
        if float(self.metric.log_odds(node_distances(a, b, self.metric))) > 0:
            if self.gallery is None:
                raise HemlError(
                    "the tree calls the two the same: what would make them differ comes from a third image, and there"
                    " is no data"
                )
            found = self.gallery.foil(a, b, self.metric)
            if found is None:
                return None
            donor = found
        return counterfactual(a, b, donor, self.tree, self.metric, self.made)
