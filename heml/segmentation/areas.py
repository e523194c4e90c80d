"""How much of each image some classes cover, by a SegFormer: what `dataset.rule` with a `model` makes labels of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from heml.datasets.assemble import Areas
from heml.errors import HemlError
from heml.machine import best_device
from heml.params import Rule
from heml.segmentation.model import load_segmenter
from heml.segmentation.predict import predict
from heml.segmentation.samples import batches
from heml.segments.names import unknown_names


def covered(rule: Rule) -> Areas:
    """A function from images by id to the fraction of their pixels that the rule's classes cover, in the same order.

    Raises:
        HemlError: the network cannot be had, or does not know a class.
    """
    assert rule.model is not None
    network = load_segmenter(rule.model, rule.revision, where="dataset.rule")
    if unknown := unknown_names(rule.classes, network.classes):
        raise HemlError(
            f"dataset.rule.classes: unknown {', '.join(unknown)}; {rule.model} has {', '.join(network.classes)}"
        )
    ids = [network.classes[name] for name in rule.classes]
    network.size = rule.size
    device = best_device()
    network.network.to(device).eval()

    def areas(images: Iterable[tuple[str, Image.Image]]) -> Iterator[tuple[str, float]]:
        for batch in batches(((image_id, network.resized(image)) for image_id, image in images), rule.batch_size):
            labels, _ = predict(network, np.stack([pixels for _, pixels in batch]), device)
            for (image_id, _), found in zip(batch, labels, strict=True):
                yield image_id, float(np.isin(found, ids).mean())

    return areas
