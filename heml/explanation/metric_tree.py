"""A trained metric tree, ready to embed and explain images that were never in the data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from heml.datasets.canvas import lay_image
from heml.datasets.images import decode_image
from heml.distances import bounded_snr
from heml.errors import HemlError
from heml.evaluation.embeddings import stored_tree
from heml.explanation.pairs import Explanation, NodeDistance
from heml.learning.inputs import prepare
from heml.learning.networks import MetricNetwork
from heml.learning.store import Header, load_network, node_path
from heml.segmentation.dataset import resize_image
from heml.segmentation.labelmaps import LabelMap
from heml.segmentation.manifest import cut_segment
from heml.segmentation.masks import unpack_mask
from heml.segmentation.model import Segmenter, load_segmenter
from heml.segmentation.predict import best_device, predict
from heml.segmentation.segment import segmenter_classes
from heml.tree import Tree

Picture = str | Path | Image.Image


class MetricTree:
    """The networks of all nodes and the segmenter that feeds them.

    Example:
        >>> tree = MetricTree.load("models")                     # doctest: +SKIP
        >>> print(tree.explain("a.jpg", "b.jpg"))                # doctest: +SKIP
        a.jpg and b.jpg: 0 is the same, 0.5 unrelated, 1 opposite
        portrait  0.31
        ├─ upper_face  0.12
        ...
    """

    def __init__(self, tree: Tree, nodes: dict[str, tuple[Header, MetricNetwork]], segmenter: Segmenter) -> None:
        self.tree = tree
        self.nodes = nodes
        self.segmenter = segmenter
        self.device = next(segmenter.network.parameters()).device

    @classmethod
    def load(cls, models: str | Path = "models") -> MetricTree:
        """Load `models/nodes` and `models/segmenter`.

        Raises:
            HemlError: no nodes, or a segmenter that is only the data set's own masks and cannot segment anything new.
        """
        models = Path(models)
        device = best_device()
        tree = stored_tree(models / "nodes")
        masks, _ = segmenter_classes(models / "segmenter")
        if masks:
            raise HemlError(
                f"{models / 'segmenter'}: stands for the data set's own masks, which no new image has; "
                "run with segmenter.source finetune or pretrained"
            )
        segmenter = load_segmenter(models / "segmenter")
        segmenter.network.to(device).eval()
        nodes = {node.name: load_network(node_path(models / "nodes", node.name), device) for node in tree}
        return cls(tree, nodes, segmenter)

    @torch.inference_mode()
    def embed(self, images: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """Embed images at every node.

        Args:
            images: files or Pillow images.

        Returns:
            node → (N, D) float32 on the CPU; a row is NaN where the image has none of the node's segments.

        Raises:
            BadImage: a file that is no readable image.
        """
        pictures = [_picture(image) for image in images]
        labels, confidence = predict(self.segmenter, np.stack([resize_image(p, self.segmenter.size) for p in pictures]), self.device)
        classes = self.segmenter.classes
        canvas = self.nodes[self.tree.root][0].canvas
        laid = np.stack([lay_image(p, canvas) for p in pictures])
        masks: dict[str, np.ndarray] = {}
        for name in self.tree.leaves():
            segment = self.nodes[name][0].segments[name]
            ids = [classes[c] for c in segment.classes]
            rows = [
                cut_segment(LabelMap("", p.width, p.height, found, sure), ids, segment, canvas)
                for p, found, sure in zip(pictures, labels, confidence, strict=True)
            ]
            masks[name] = np.stack([unpack_mask(row["mask"], (canvas.height, canvas.width)) for row in rows])
        return {name: self._embed_node(name, laid, masks) for name in self.nodes}

    def _embed_node(self, name: str, laid: np.ndarray, masks: dict[str, np.ndarray]) -> torch.Tensor:
        header, network = self.nodes[name]
        x0, y0, x1, y1 = header.box
        union = np.logical_or.reduce([masks[leaf] for leaf in header.leaves])[:, None, y0:y1, x0:x1]
        there = union.any((1, 2, 3))
        vectors = torch.full((len(laid), header.architecture.embedding_dim), torch.nan)
        if there.any():
            pixels = torch.from_numpy(laid[there, y0:y1, x0:x1].transpose(0, 3, 1, 2).copy()).to(self.device)
            x = prepare(pixels, torch.from_numpy(union[there].astype(np.uint8)).to(self.device))
            vectors[torch.from_numpy(there)] = network(x).float().cpu()
        return vectors

    def explain(self, first: Picture, second: Picture) -> Explanation:
        """The distance of two images at every node; `print` it for a tree of lines."""
        embedded = self.embed([first, second])
        nodes = {}
        for name, (a, b) in embedded.items():
            there = (bool(a.isfinite().all()), bool(b.isfinite().all()))
            distance = float(bounded_snr(a, b)) if all(there) else float("nan")
            nodes[name] = NodeDistance(distance, float("nan"), there)
        return Explanation(_name(first, "first image"), _name(second, "second image"), self.tree, nodes)


def _picture(image: Picture) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    path = Path(image)
    try:
        return decode_image(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise HemlError(f"{path}: no such image") from None


def _name(image: Picture, otherwise: str) -> str:
    return otherwise if isinstance(image, Image.Image) else Path(image).name
