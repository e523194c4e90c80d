"""The images nearest to one image by the tree or by any node, and where two nodes disagree about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from heml.distances import correlation_distance
from heml.errors import HemlError
from heml.evaluation.pairing import ranks
from heml.evaluation.tree_metric import TreeMetric
from heml.explanation.views import Gallery, View


@dataclass(frozen=True)
class Neighbour:
    """An image of the data set beside the one that was asked about."""

    row: int
    image_id: str
    split: str
    label: int
    distance: float
    """By the tree or at the node, in [0, 1]."""


@dataclass(frozen=True)
class Disagreement:
    """An image that is near at one node and far at another."""

    image: Neighbour
    """With its distance at `near`."""
    near: str
    far: str
    ranks: tuple[float, float]
    """Its percentile among all images by distance at `near` and at `far`, in [0, 100]."""


def _distances(view: View, gallery: Gallery, node: str | TreeMetric) -> torch.Tensor:
    """Distances to every image of the gallery by the tree or at a node, (N,); NaN where it lacks the node, and for the
    image itself.

    Raises:
        HemlError: the image that is asked about lacks the node.
    """
    if isinstance(node, TreeMetric):
        return gallery.distances(view, node)
    if not view.has(node):
        raise HemlError(f"{view.name}: shows nothing of {node!r}, so it has no neighbours there; choose another node")
    stored = gallery.embeddings[node]
    found = torch.where(
        torch.from_numpy(stored.present), correlation_distance(view.vectors[node], stored.vectors), torch.nan
    )
    if view.name in gallery:
        found[gallery.row(view.name)] = torch.nan
    return found


def _neighbour(gallery: Gallery, row: int, distance: float) -> Neighbour:
    stored = gallery.embeddings[gallery.tree.root]
    return Neighbour(row, stored.image_ids[row], str(stored.splits[row]), int(stored.labels[row]), distance)


def neighbours(
    view: View, gallery: Gallery, node: str | TreeMetric, count: int, split: str | None = None
) -> list[Neighbour]:
    """The nearest images, nearest first, the image itself left out.

    Args:
        node: by this node's distance, or by the tree's metric.
        split: search this split alone.

    Raises:
        HemlError: the image lacks the node.
    """
    distances = _distances(view, gallery, node)
    if split:
        distances = torch.where(
            torch.from_numpy(gallery.embeddings[gallery.tree.root].splits == split), distances, torch.nan
        )
    order = distances.nan_to_num(torch.inf).argsort(stable=True)[: min(count, int(distances.isfinite().sum()))]
    return [_neighbour(gallery, row, float(distances[row])) for row in order.tolist()]


def disagreements(
    view: View, gallery: Gallery, nodes: Sequence[str], count: int, anchor: str | None = None
) -> list[Disagreement]:
    """The images on whose likeness the nodes disagree most: near at one, far at another, as ranks among all images.

    Args:
        nodes: compare these; those that the image lacks are left out.
        anchor: name only where this node disagrees with another.
        count: at most; each pair of nodes (near, far) is named once.
    """
    nodes = [node for node in nodes if view.has(node)]
    distances = {node: _distances(view, gallery, node) for node in nodes}
    place = torch.stack([100 * ranks(distances[node]) for node in nodes]) if nodes else torch.zeros(0, 0)
    found: list[Disagreement] = []
    for i, near in enumerate(nodes):
        for j, far in enumerate(nodes):
            gap = (place[j] - place[i]).nan_to_num(-torch.inf)
            row = int(gap.argmax())
            if i != j and gap[row] > 0 and anchor in (None, near, far):
                image = _neighbour(gallery, row, float(distances[near][row]))
                found.append(Disagreement(image, near, far, (float(place[i, row]), float(place[j, row]))))
    found.sort(key=lambda d: (d.ranks[0] - d.ranks[1], d.near, d.far))
    return found[:count]
