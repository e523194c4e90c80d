"""How faithful are contributions? Against what happens to the root's distance when two images exchange one segment.

dvc repro                                            # a finished run
python -m benchmarks.faithfulness [--pairs 200]      # prints a Markdown table

For each of many random pairs of test images, a rule gives every segment that either image shows a number; Spearman's correlation
compares them with the effect of the exchange (`heml.explanation.contributions.exchange`), the mean over both directions, and with
the effect of giving the first image the second's segment alone. Saliency methods are Captum's, on the root's bounded SNR distance
of both images as inputs; their maps are summed over each segment.
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

from heml.distances import bounded_snr
from heml.evaluation.retrieval import interval
from heml.explanation.contributions import Image, embed_images, give, shown
from heml.explanation.metric_tree import MetricTree
from heml.explanation.views import View
from heml.learning.inputs import prepare
from heml.progress import progress

STEPS = 32
"""Of integrated gradients."""


class Comparison(nn.Module):
    """Two prepared images, (B, 3, h, w) each, → their bounded SNR distance, (B,)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return bounded_snr(*self.network(torch.cat([first, second])).chunk(2))


class Pair:
    """Two views at the root, with the segments that either shows."""

    def __init__(self, tree: MetricTree, first: View, second: View) -> None:
        self.tree, self.header, self.network = tree, tree.root, tree.network(tree.tree.root)
        self.first, self.second = first, second
        self.leaves = shown(first, second, self.header.leaves)

    def embed(self, images: list[Image]) -> torch.Tensor:
        return embed_images(self.network, self.header, images)

    def whole(self, view: View) -> Image:
        return view.canvas, view.seen(self.header.leaves)

    def without(self, view: View, leaf: str) -> Image:
        others = [other for other in self.header.leaves if other != leaf]
        return view.canvas, view.seen(others)

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Both as the root sees them, (1, 3, h, w)."""
        x0, y0, x1, y1 = self.header.box
        found = []
        for pixels, mask in (self.whole(self.first), self.whole(self.second)):
            p = torch.from_numpy(pixels[y0:y1, x0:x1].transpose(2, 0, 1).copy())[None].to(self.tree.device)
            found.append(prepare(p, torch.from_numpy(mask[None, None, y0:y1, x0:x1].astype(np.uint8)).to(self.tree.device)))
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
    """The effect of each exchange, (2, S): the first given the second's segment, and the reverse."""
    images = [pair.whole(pair.first), pair.whole(pair.second)]
    for leaf in pair.leaves:
        images += [give(pair.first, pair.second, leaf, pair.header.leaves), give(pair.second, pair.first, leaf, pair.header.leaves)]
    a, b, *rest = pair.embed(images)
    return np.array([[float(bounded_snr(a, b) - bounded_snr(x, y)) for x, y in ends] for ends in
                     ([(x, b) for x in rest[::2]], [(a, x) for x in rest[1::2]])])  # fmt: skip


def leaf_distances(pair: Pair) -> NDArray[np.float64]:
    """Each leaf's own distance; 0.5, unrelated, where one image lacks it."""
    a, b = pair.first, pair.second
    return np.array([float(bounded_snr(a.vectors[s], b.vectors[s])) if a.has(s) and b.has(s) else 0.5 for s in pair.leaves])


def path_distances(pair: Pair) -> NDArray[np.float64]:
    """The mean distance over the leaf and its ancestors, where both images have them."""
    a, b, tree = pair.first, pair.second, pair.tree.tree
    found = []
    for leaf in pair.leaves:
        nodes = [n for n in (leaf, *tree.ancestors(leaf)) if a.has(n) and b.has(n)]
        found.append(np.mean([float(bounded_snr(a.vectors[n], b.vectors[n])) for n in nodes]))
    return np.array(found)


def area_times_distance(pair: Pair) -> NDArray[np.float64]:
    """Each leaf's own distance times the area that it covers in both."""
    return leaf_distances(pair) * np.array([pair.first.masks[s].mean() + pair.second.masks[s].mean() for s in pair.leaves])


def leave_one_out(pair: Pair) -> NDArray[np.float64]:
    """By how much the distance falls when both images lose the segment: embeddings that can be stored with every image."""
    a, b, *rest = pair.embed(
        [pair.whole(pair.first), pair.whole(pair.second)] + [pair.without(v, s) for s in pair.leaves for v in (pair.first, pair.second)]
    )
    return np.array([float(bounded_snr(a, b) - bounded_snr(x, y)) for x, y in zip(rest[::2], rest[1::2], strict=True)])


def two_contexts(pair: Pair) -> NDArray[np.float64]:
    """Half the effect of exchanging the segment first, half that of exchanging it last, after all others, both ways."""
    ends = [(pair.first, pair.second), (pair.second, pair.first)]
    last = np.zeros(len(pair.leaves))
    for one, other in ends:
        # all but the segment exchanged: the other image with the one's segment in place of its own
        images = [pair.whole(other)] + [give(other, one, leaf, pair.header.leaves) for leaf in pair.leaves]
        whole, *rest = pair.embed(images)
        last += [float(bounded_snr(x, whole)) for x in rest]
    return exchanged(pair).mean(0) / 2 + last / 4


def grad_cam(pair: Pair) -> NDArray[np.float64]:
    """Captum's LayerGradCam at the trunk's last map, enlarged."""
    a, b = pair.inputs()
    layer = LayerGradCam(lambda x: bounded_snr(*pair.network(x).chunk(2)).sum()[None], pair.network.trunk)
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
    "leaf distance": leaf_distances,
    "leaf distance × area": area_times_distance,
    "mean distance up the path": path_distances,
    "leave one out": leave_one_out,
    "exchange, first and last": two_contexts,
    "Grad-CAM, summed": grad_cam,
    "integrated gradients, summed": integrated_gradients,
    "FeatureAblation": feature_ablation,
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
    stored = gallery.embeddings[tree.tree.root]
    average = _typical(tree, pairs)
    rules = {"the same for every pair (floor)": lambda pair: np.array([average[s] for s in pair.leaves]), **RULES}
    both: dict[str, list[float]] = {name: [] for name in ("exchange", *rules)}
    one: dict[str, list[float]] = {name: [] for name in both}
    seconds: dict[str, list[float]] = {name: [] for name in both}
    distances = []
    for a, b in progress(_draw(stored.rows("test"), pairs), "faithfulness", unit="pair"):
        pair = Pair(tree, gallery.view(a), gallery.view(b))
        began = time.perf_counter()
        effects = exchanged(pair)
        found = {"exchange": effects.mean(0)}
        seconds["exchange"].append(time.perf_counter() - began)
        for name, rule in rules.items():
            began = time.perf_counter()
            found[name] = rule(pair)
            seconds[name].append(time.perf_counter() - began)
        for name, values in found.items():
            both[name].append(correlation(values, effects.mean(0)))
            one[name].append(correlation(values, effects[0]))
        distances.append(float(bounded_snr(pair.first.vectors[tree.tree.root], pair.second.vectors[tree.tree.root])))
    far = np.array(distances) > np.median(distances)
    lines = ["| rule | Spearman | 95 % | of the farther half | first image alone | ms |", "|---|---|---|---|---|---|"]
    for name, values in both.items():
        known = np.array(values)[~np.isnan(values)]
        low, high = interval(known, 1000)
        lines.append(
            f"| {name} | {known.mean():.2f} | {low:.2f} to {high:.2f} | {np.nanmean(np.array(values)[far]):.2f} "
            f"| {np.nanmean(one[name]):.2f} | {1000 * np.median(seconds[name]):.0f} |"
        )
    return "\n".join(lines) + f"\n\n{len(distances)} pairs of test images, median distance {np.median(distances):.3f}."


def _draw(rows: NDArray[np.int64], pairs: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(0)
    return [tuple(rng.choice(rows, 2, replace=False).tolist()) for _ in range(pairs)]


def _typical(tree: MetricTree, pairs: int) -> dict[str, float]:
    """Each segment's mean effect over pairs of `val`."""
    assert tree.gallery is not None
    total, count = dict.fromkeys(tree.root.leaves, 0.0), dict.fromkeys(tree.root.leaves, 0)
    for a, b in _draw(tree.gallery.embeddings[tree.tree.root].rows("val"), pairs // 2):
        pair = Pair(tree, tree.gallery.view(a), tree.gallery.view(b))
        for leaf, effect in zip(pair.leaves, exchanged(pair).mean(0).tolist(), strict=True):
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
