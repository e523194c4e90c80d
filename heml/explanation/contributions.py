"""How much each segment contributes to the root's distance of two images: what changes when they exchange it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from heml.distances import bounded_snr
from heml.explanation.views import View
from heml.learning.inputs import prepare
from heml.learning.networks import MetricNetwork
from heml.learning.store import Header

Image = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""Pixels (H, W, 3) and what is seen of them, (H, W)."""


def give(first: View, second: View, segment: str, leaves: Sequence[str]) -> Image:
    """The first image with the second's segment in place of its own.

    Its own is no longer seen, except where another of its segments overlaps it; the second's lies on top, where it was in the
    second image.

    Args:
        leaves: the segments that are seen, `segment` among them.
    """
    pixels = first.canvas.copy()
    pixels[second.masks[segment]] = second.canvas[second.masks[segment]]
    others = [leaf for leaf in leaves if leaf != segment]
    return pixels, second.masks[segment] | (first.seen(others) if others else np.zeros_like(first.masks[segment]))


def shown(first: View, second: View, leaves: Sequence[str]) -> list[str]:
    """The segments that either image shows."""
    return [leaf for leaf in leaves if first.masks[leaf].any() or second.masks[leaf].any()]


@torch.inference_mode()
def embed_images(network: MetricNetwork, header: Header, images: Sequence[Image]) -> torch.Tensor:
    """Embeddings of images that were made here, (N, D) on the CPU; one in which nothing is seen is blank, not absent."""
    x0, y0, x1, y1 = header.box
    device = next(network.parameters()).device
    pixels = np.stack([p[y0:y1, x0:x1].transpose(2, 0, 1) for p, _ in images])
    masks = np.stack([m[None, y0:y1, x0:x1] for _, m in images]).astype(np.uint8)
    found: torch.Tensor = network(prepare(torch.from_numpy(pixels).to(device), torch.from_numpy(masks).to(device)))
    return found.float().cpu()


def exchange(network: MetricNetwork, header: Header, first: View, second: View) -> dict[str, float]:
    """By how much the root's distance falls when the two images exchange one segment, for each segment.

    The mean over giving the first the second's segment and the reverse. Positive: the segment keeps them apart; negative:
    it makes them alike; 0 where neither has it. Two embeddings per segment and image.

    Args:
        network, header: the root, or any node: its own segments are exchanged.

    Returns:
        Segment → change of the bounded SNR distance.
    """
    leaves = shown(first, second, header.leaves)
    images = [(view.canvas, view.seen(header.leaves)) for view in (first, second)]
    for leaf in leaves:
        images += [give(first, second, leaf, header.leaves), give(second, first, leaf, header.leaves)]
    a, b, *changed = embed_images(network, header, images)
    whole = float(bounded_snr(a, b))
    effects = dict.fromkeys(header.leaves, 0.0)
    for k, leaf in enumerate(leaves):
        effects[leaf] = whole - (float(bounded_snr(changed[2 * k], b)) + float(bounded_snr(a, changed[2 * k + 1]))) / 2
    return effects


def shares(effects: Mapping[str, float], distance: float, leaves: Sequence[str]) -> dict[str, float]:
    """Effects as contributions that sum to the distance, in the same order of size.

    What the effects leave over, since segments act together, is divided equally among the segments that either image shows
    (the equal surplus division of cooperative games: Driessen & Funaki, 1991).

    Args:
        leaves: the segments that either image shows.

    Returns:
        Segment → contribution; 0 for a segment that neither image shows.
    """
    rest = (distance - sum(effects[leaf] for leaf in leaves)) / max(len(leaves), 1)
    return {leaf: effects[leaf] + rest if leaf in leaves else 0.0 for leaf in effects}
