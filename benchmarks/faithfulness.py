"""Does an explanation say what the tree minds? Rules that give every segment a number, against exchanging the segment.

    python -m benchmarks.faithfulness            # a finished run in models/ and data/; some minutes

The truth is what happens to the tree's log-odds when the two images exchange a segment (`heml.explanation.exchange`:
every node that holds it sees the exchange at once; the mean of both directions). Over pairs of test images, Spearman's
correlation over the segments that either image shows. Rules at reading cost use stored distances, areas and
`models/metric.json` alone: what an exchange does to the segment's own leaf can be read exactly, since identical parts
have distance 0; what it does at the nodes above is divided among the segments there. The saliency methods explain the
root, as networks without a tree are explained.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from captum.attr import FeatureAblation, IntegratedGradients, LayerAttribution, LayerGradCam
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from heml.distances import correlation_distance
from heml.evaluation.retrieval import interval
from heml.explanation.exchange import distances, exchange, shown
from heml.explanation.metric_tree import MetricTree
from heml.explanation.views import View
from heml.learning.inputs import prepare
from heml.progress import progress

STEPS = 32
"""Of integrated gradients."""


class Comparison(nn.Module):
    """Two prepared images, (B, 3, h, w) each, → their distance, (B,)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return correlation_distance(*self.network(torch.cat([first, second])).chunk(2))


class Pair:
    """Two views, with the segments that either shows and every node's slope times distance."""

    def __init__(self, tree: MetricTree, first: View, second: View) -> None:
        self.tree, self.header, self.network = tree, tree.root, tree.network(tree.tree.root)
        self.first, self.second = first, second
        self.leaves = shown(first, second, self.header.leaves)
        self.apart = dict(zip(tree.metric.terms, distances(first, second, tree.metric).tolist(), strict=True))

    def term(self, node: str) -> float:
        """What two images that are the same at the node would gain there: its slope times the distance; 0 where one
        lacks it."""
        return self.tree.metric.terms[node].slope * float(np.nan_to_num(self.apart[node]))

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Both as the root sees them, (1, 3, h, w)."""
        x0, y0, x1, y1 = self.header.box
        found = []
        for view in (self.first, self.second):
            p = torch.from_numpy(view.canvas[y0:y1, x0:x1].transpose(2, 0, 1).copy())[None].to(self.tree.device)
            mask = view.seen(self.header.leaves)[y0:y1, x0:x1]
            found.append(prepare(p, torch.from_numpy(mask[None, None].astype(np.uint8)).to(self.tree.device)))
        return found[0], found[1]

    def masks(self, view: View) -> NDArray[np.bool_]:
        """(S, h, w), in the root's box."""
        x0, y0, x1, y1 = self.header.box
        return np.stack([view.masks[leaf][y0:y1, x0:x1] for leaf in self.leaves])

    def over_segments(self, maps: tuple[torch.Tensor, torch.Tensor]) -> NDArray[np.float64]:
        """Saliency of both images, (1, C, h, w) each, summed over each segment: (S,)."""
        found = np.zeros(len(self.leaves))
        for saliency, view in zip(maps, (self.first, self.second), strict=True):
            plane = saliency.detach()[0].sum(0).cpu().numpy()
            found += (self.masks(view) * plane).sum((1, 2))
        return found


def exchanged(pair: Pair) -> NDArray[np.float64]:
    """The truth, (S,)."""
    found = exchange(pair.first, pair.second, pair.tree.tree, pair.tree.metric, pair.tree.made)
    return np.array([found[leaf] for leaf in pair.leaves])


def leaf_evidence(pair: Pair) -> NDArray[np.float64]:
    """Each leaf's evidence against one label."""
    terms = pair.tree.metric.terms
    return np.array([-terms[leaf].evidence(pair.apart[leaf]) for leaf in pair.leaves])


def own_term(pair: Pair) -> NDArray[np.float64]:
    """What an exchange does at the segment's own leaf, exactly: its distance becomes 0 in both directions.

    Where one image lacks the segment, it is given in one direction, with distance 0 where nothing was said, and taken
    away in the other.
    """
    found = []
    for leaf in pair.leaves:
        term = pair.tree.metric.terms[leaf]
        found.append(
            pair.term(leaf) if pair.first.has(leaf) and pair.second.has(leaf) else term.slope * term.threshold / 2
        )
    return np.array(found)


def path_evidence(pair: Pair) -> NDArray[np.float64]:
    """The evidence against one label, summed over the leaf and its ancestors."""
    terms = pair.tree.metric.terms
    return np.array(
        [
            -sum(terms[n].evidence(pair.apart[n]) for n in (leaf, *pair.tree.tree.ancestors(leaf)))
            for leaf in pair.leaves
        ]
    )


def path_terms(pair: Pair) -> NDArray[np.float64]:
    """Slope times distance, summed over the leaf and its ancestors."""
    return np.array([sum(pair.term(n) for n in (leaf, *pair.tree.tree.ancestors(leaf))) for leaf in pair.leaves])


def divided(pair: Pair, parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The leaf's own term, and of every ancestor's slope times distance the part that is the leaf's.

    Args:
        parts: (S,), in proportion to which segments below a node share.
    """
    found = own_term(pair)
    for node in pair.tree.tree:
        below = np.isin(pair.leaves, pair.tree.tree.leaves(node.name))
        if node.children and parts[below].sum() > 0:
            found[below] += pair.term(node.name) * parts[below] / parts[below].sum()
    return found


def by_area(pair: Pair) -> NDArray[np.float64]:
    """Divided by the area that segments cover in both."""
    return divided(pair, _areas(pair))


def by_area_and_distance(pair: Pair) -> NDArray[np.float64]:
    """Divided by area times the square root of the leaf's distance; ½ where one image lacks it."""
    apart = np.nan_to_num(np.array([pair.apart[leaf] for leaf in pair.leaves]), nan=0.5)
    return divided(pair, _areas(pair) * np.sqrt(apart))


def _areas(pair: Pair) -> NDArray[np.float64]:
    return np.array([pair.first.masks[leaf].mean() + pair.second.masks[leaf].mean() for leaf in pair.leaves])


def grad_cam(pair: Pair) -> NDArray[np.float64]:
    """Captum's LayerGradCam at the trunk's last map, enlarged."""
    a, b = pair.inputs()
    layer = LayerGradCam(lambda x: correlation_distance(*pair.network(x).chunk(2)).sum()[None], pair.network.trunk)
    maps = layer.attribute(torch.cat([a, b]).requires_grad_(), attr_dim_summation=True)
    maps = LayerAttribution.interpolate(maps, tuple(a.shape[2:]), "bilinear")
    return pair.over_segments((maps[:1], maps[1:]))


def integrated_gradients(pair: Pair) -> NDArray[np.float64]:
    """Captum's IntegratedGradients of both images from blank ones."""
    a, b = pair.inputs()
    return pair.over_segments(IntegratedGradients(Comparison(pair.network)).attribute((a, b), n_steps=STEPS))


def feature_ablation(pair: Pair) -> NDArray[np.float64]:
    """Captum's FeatureAblation: each segment blanked in both images, the segments as feature mask."""
    a, b = pair.inputs()
    ids = []
    for view in (pair.first, pair.second):
        features = np.zeros(a.shape[2:], np.int64)
        for k, mask in enumerate(pair.masks(view)):
            features[mask] = k + 1
        ids.append(torch.from_numpy(features)[None, None].to(pair.tree.device))
    found = FeatureAblation(Comparison(pair.network)).attribute((a, b), feature_mask=tuple(ids))
    values = np.zeros(len(pair.leaves))
    for attribution, features in zip(found, ids, strict=True):  # one number per feature, repeated over its pixels
        for k in range(len(values)):
            there = features[0, 0] == k + 1
            if there.any():
                values[k] = float(attribution[0, 0][there][0])
    return values


RULES: Mapping[str, Callable[[Pair], NDArray[np.float64]]] = {
    "leaf evidence": leaf_evidence,
    "its own leaf's term": own_term,
    "evidence up the path": path_evidence,
    "terms up the path": path_terms,
    "terms divided by area": by_area,
    "terms divided by area × √distance": by_area_and_distance,
    "Grad-CAM of the root, summed": grad_cam,
    "integrated gradients of the root, summed": integrated_gradients,
    "FeatureAblation of the root": feature_ablation,
}


def correlation(found: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Spearman's; 0 for a rule that tells no segment from another, NaN where the truth does not."""
    if np.ptp(truth) == 0:
        return float("nan")
    return float(spearmanr(found, truth).statistic) if np.ptp(found) > 0 else 0.0


def measure(tree: MetricTree, pairs: int) -> str:
    """The table."""
    gallery = tree.gallery
    assert gallery is not None
    average = _typical(tree, pairs)
    rules = {"the same for every pair (floor)": lambda pair: np.array([average[s] for s in pair.leaves]), **RULES}
    told: dict[str, list[float]] = {name: [] for name in ("exchange", *rules)}
    seconds: dict[str, list[float]] = {name: [] for name in told}
    different = []
    for a, b in progress(_draw(gallery.embeddings[tree.tree.root].rows("test"), pairs), "faithfulness", unit="pair"):
        pair = Pair(tree, gallery.view(a), gallery.view(b))
        truth = np.zeros(0)
        for name, rule in {"exchange": exchanged, **rules}.items():
            began = time.perf_counter()
            found = rule(pair)
            seconds[name].append(time.perf_counter() - began)
            truth = found if name == "exchange" else truth
            told[name].append(correlation(found, truth))
        different.append(float(tree.metric.log_odds(np.array(list(pair.apart.values())))) < 0)
    lines = ["| rule | Spearman | 95 % | of pairs that the tree calls different | ms |", "|---|---|---|---|---|"]
    for name, values in told.items():
        known = np.array(values)[~np.isnan(values)]
        low, high = interval(known, 1000)
        apart = np.nanmean(np.array(values)[np.array(different)])
        lines.append(
            f"| {name} | {known.mean():.2f} | {low:.2f} to {high:.2f} | {apart:.2f} |"
            f" {1000 * np.median(seconds[name]):.1f} |"
        )
    return (
        "\n".join(lines)
        + f"\n\n{len(different)} pairs of test images, of which the tree calls {sum(different)} different."
    )


def _draw(rows: NDArray[np.int64], pairs: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(0)
    return [tuple(rng.choice(rows, 2, replace=False).tolist()) for _ in range(pairs)]


def _typical(tree: MetricTree, pairs: int) -> dict[str, float]:
    """Each segment's mean effect over pairs of `val`."""
    assert tree.gallery is not None
    total, count = dict.fromkeys(tree.root.leaves, 0.0), dict.fromkeys(tree.root.leaves, 0)
    for a, b in _draw(tree.gallery.embeddings[tree.tree.root].rows("val"), pairs // 2):
        pair = Pair(tree, tree.gallery.view(a), tree.gallery.view(b))
        for leaf, effect in zip(pair.leaves, exchanged(pair).tolist(), strict=True):
            total[leaf] += effect
            count[leaf] += 1
    return {leaf: total[leaf] / max(count[leaf], 1) for leaf in total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    print(measure(MetricTree.load(arguments.models, arguments.data), arguments.pairs))


if __name__ == "__main__":
    main()
