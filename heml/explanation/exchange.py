"""What two images exchange: recomposed images, and what the tree says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from heml.distances import correlation_distance
from heml.evaluation.tree_metric import TreeMetric
from heml.explanation.views import View
from heml.learning.checkpoints import Header
from heml.learning.inputs import prepare
from heml.learning.networks import MetricNetwork
from heml.tree import Tree

Image = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""Pixels (H, W, 3) and what is seen of them, (H, W)."""

Embed = Callable[[str, Sequence[Image]], torch.Tensor]
"""A node and images → their embeddings at the node, (N, D); NaN where nothing is seen."""


def give(first: View, second: View, segments: Sequence[str]) -> View:
    """The first image with segments of the second in place of its own, as a view without embeddings.

    Its own are no longer seen; the second's lie on top, where they were in the second image, and hide what they cover.
    """
    pixels, masks = first.canvas.copy(), dict(first.masks)
    covered = np.logical_or.reduce([second.masks[name] for name in segments])
    pixels[covered] = second.canvas[covered]
    for name in masks:
        masks[name] = second.masks[name] if name in segments else masks[name] & ~covered
    return replace(first, canvas=pixels, masks=masks, vectors={})


def shown(first: View, second: View, leaves: Sequence[str]) -> list[str]:
    """The segments that either image shows."""
    return [leaf for leaf in leaves if first.masks[leaf].any() or second.masks[leaf].any()]


@torch.inference_mode()
def embed_images(network: MetricNetwork, header: Header, images: Sequence[Image]) -> torch.Tensor:
    """Embeddings of images that were made here, (N, D) on the CPU; NaN for one in which nothing is seen."""
    x0, y0, x1, y1 = header.box
    device = next(network.parameters()).device
    pixels = np.stack([p[y0:y1, x0:x1].transpose(2, 0, 1) for p, _ in images])
    masks = np.stack([m[None, y0:y1, x0:x1] for _, m in images]).astype(np.uint8)
    there = torch.from_numpy(masks.any((1, 2, 3)))
    found: torch.Tensor = network(prepare(torch.from_numpy(pixels).to(device), torch.from_numpy(masks).to(device)))
    return torch.where(there[:, None], found.float().cpu(), torch.nan)


def distances(first: View, second: View, metric: TreeMetric) -> NDArray[np.float64]:
    """At every node of the metric, in its order, (M,); NaN where one of the two lacks it."""
    both = ((first.vectors[n], second.vectors[n]) if first.has(n) and second.has(n) else None for n in metric.terms)
    found = [float(correlation_distance(*pair)) if pair else np.nan for pair in both]
    return np.array(found)


def exchange(first: View, second: View, tree: Tree, metric: TreeMetric, embed: Embed) -> dict[str, float]:
    """By how much the tree's log-odds of one label rise when the two images exchange one segment, for each segment.

    All nodes that hold the segment see the exchange at once; the others stay as they are. The mean over giving the
    first the second's segment and the reverse. Positive: the segment keeps the two apart; negative: it makes them
    alike; 0 where neither has it.

    Returns:
        Leaf → change of the log-odds.
    """
    whole = distances(first, second, metric)
    leaves = shown(first, second, tree.leaves())
    ends = [(give(one, other, [leaf]), other) for leaf in leaves for one, other in ((first, second), (second, first))]
    changed = np.repeat(whole[None], len(ends), 0)  # (2 per leaf, M)
    for column, name in enumerate(metric.terms):
        below = tree.sees(name)
        rows = [2 * k + side for k, leaf in enumerate(leaves) if leaf in below for side in (0, 1)]
        if rows and metric.terms[name].slope:
            given = embed(name, [(ends[row][0].canvas, ends[row][0].seen(below)) for row in rows])
            kept = torch.stack([ends[row][1].vectors[name] for row in rows])
            changed[rows, column] = correlation_distance(given, kept).numpy()
    rise = metric.log_odds(changed) - metric.log_odds(whole)
    return dict.fromkeys(tree.leaves(), 0.0) | {
        leaf: float(rise[2 * k] + rise[2 * k + 1]) / 2 for k, leaf in enumerate(leaves)
    }


def shares(effects: dict[str, float], log_odds: float, leaves: Sequence[str]) -> dict[str, float]:
    """What each segment says for one label, so that all sum to the log-odds, in the opposite order of the effects.

    What the effects leave over, since segments act together, is divided equally among the segments that either image
    shows (the equal surplus division of cooperative games: Driessen & Funaki, 1991).

    Args:
        leaves: the segments that either image shows.

    Returns:
        Leaf → evidence; 0 for a segment that neither image shows.
    """
    rest = (log_odds + sum(effects[leaf] for leaf in leaves)) / max(len(leaves), 1)
    return {leaf: rest - effects[leaf] if leaf in leaves else 0.0 for leaf in effects}


@dataclass(frozen=True)
class Counterfactual:
    """The fewest segments found whose exchange turns the tree's decision."""

    segments: list[str]
    donor: View
    """Whose segments are given to the first image."""
    image: View
    """The first image with them: recomposed, and embedded by the networks."""
    log_odds: float
    """Of the recomposed image and the second."""


def counterfactual(
    first: View, second: View, donor: View, tree: Tree, metric: TreeMetric, embed: Embed, most: int = 4
) -> Counterfactual | None:
    """The smallest set of segments of the donor that turns the decision on the two images when the first is given them.

    Each candidate is recomposed and embedded at every node: what is reported is what the networks say, not a sum of
    effects. Single segments are all tried; larger sets grow by the segment that moves the decision most, and lose what
    turns out not to be needed. So a set of one is the smallest; a larger one might not be.

    Args:
        donor: the second itself where the tree calls the two different, or an image that it calls unlike the second.
        most: the largest set.
    """
    leaves = shown(first, donor, tree.leaves())
    before = float(metric.log_odds(distances(first, second, metric)))

    def tried(sets: Sequence[list[str]]) -> list[tuple[float, View]]:
        views = [give(first, donor, segments) for segments in sets]
        vectors = {n: embed(n, [(view.canvas, view.seen(tree.sees(n))) for view in views]) for n in metric.terms}
        views = [replace(view, vectors={n: v[k] for n, v in vectors.items()}) for k, view in enumerate(views)]
        return [(float(metric.log_odds(distances(view, second, metric))), view) for view in views]

    def turned(log_odds: float) -> bool:
        return (log_odds > 0) != (before > 0)

    chosen: list[str] = []
    for _ in range(min(most, len(leaves))):
        sets = [[*chosen, leaf] for leaf in leaves if leaf not in chosen]
        results = tried(sets)
        k = int(np.argmax([-odds if before > 0 else odds for odds, _ in results]))
        chosen, (odds, view) = sets[k], results[k]
        if turned(odds):
            for leaf in list(chosen[:-1]):
                fewer = [other for other in chosen if other != leaf]
                again_odds, again = tried([fewer])[0]
                if turned(again_odds):
                    chosen, odds, view = fewer, again_odds, again
            return Counterfactual(sorted(chosen, key=leaves.index), donor, view, odds)
    return None
