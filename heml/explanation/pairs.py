"""Why two images are similar: their distance at every node, what it means there, and what each part contributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from heml.distances import Distance, bounded_snr, nearest
from heml.evaluation.calibration import Calibration, ranks
from heml.evaluation.decisions import compose, vote
from heml.evaluation.embeddings import NodeEmbeddings
from heml.explanation.contributions import shares, shown
from heml.explanation.views import View
from heml.tree import Tree

_WORDS = {1: "same", -1: "different", 0: None}


@dataclass(frozen=True)
class NodeDistance:
    """How far two images are apart at one node."""

    distance: float
    """Bounded SNR distance in [0, 1]; NaN where one of them lacks the node's segments."""
    percentile: float
    """Share of held-out pairs that are at most this far apart at the node, in [0, 100]; NaN likewise."""
    present: tuple[bool, bool]
    threshold: float
    """The largest distance that counts as the same at this node; NaN where it is unknown."""
    decision: str | None
    """`same` or `different` by the node's own metric; None where it has nothing to compare."""
    composed: str | None
    """The decision of the node and all below it: the majority of its own and its two children's composed ones."""
    contribution: float
    """What its segments contribute to the root's distance; the leaves' sum to it. NaN where that is unknown."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Any other distance that was asked for, by name."""

    @property
    def similarity(self) -> float:
        """1 − distance."""
        return 1 - self.distance

    def __str__(self) -> str:
        if not all(self.present):
            text = "absent in " + {(False, True): "the first", (True, False): "the second", (False, False): "both"}[self.present]
        else:
            text = digits(self.distance)
            if self.decision:
                text += f"  {self.decision}"
            if not np.isnan(self.percentile):
                text += f"  (closer than {100 - self.percentile:.0f} % of pairs)"
            text += "".join(f"  {name} {value:.3g}" for name, value in self.others.items())
        if not np.isnan(self.contribution) and any(self.present):
            text += f"  {self.contribution:+.3f}"
        return text


@dataclass(frozen=True)
class Explanation:
    """Two images and their distance at every node; `print` it for a tree of lines."""

    first: View
    second: View
    tree: Tree
    nodes: dict[str, NodeDistance]

    @property
    def decision(self) -> str | None:
        """`same` or `different`, composed of all nodes' decisions; None where the root has nothing to compare."""
        return self.nodes[self.tree.root].composed

    def __str__(self) -> str:
        notes = {name: str(d) for name, d in self.nodes.items()}
        told = f": {self.decision}" if self.decision else ""
        scale = "0 is the same, 0.5 unrelated, 1 opposite"
        if any(not np.isnan(d.contribution) for d in self.nodes.values()):
            scale += "; signed: what a part adds to the whole's distance"
        return f"{self.first.name} and {self.second.name}{told}\n{scale}\n{self.tree.draw(notes)}"

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON has it: what is unknown is null."""
        nodes = {}
        for name, d in self.nodes.items():
            node = self.tree[name]
            nodes[name] = {
                "level": node.level,
                "children": list(node.children),
                "present": list(d.present),
                "distance": _known(d.distance),
                "similarity": _known(d.similarity),
                "percentile": _known(d.percentile),
                "threshold": _known(d.threshold),
                "decision": d.decision,
                "composed": d.composed,
                "contribution": _known(d.contribution),
                "distances": {key: _known(value) for key, value in d.others.items()},
            }
        return {"first": self.first.name, "second": self.second.name, "root": self.tree.root, "decision": self.decision, "nodes": nodes}


def digits(distance: float) -> str:
    """A distance for people: a digit more below 0.1."""
    return f"{distance:.{3 if distance < 0.1 else 2}f}"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def explain(
    first: View,
    second: View,
    tree: Tree,
    calibration: Calibration,
    effects: Mapping[str, float] | None = None,
    distances: Sequence[Distance] = (),
) -> Explanation:
    """Explain a pair of views.

    Args:
        calibration: may be empty: then there are no percentiles and no decisions.
        effects: what exchanging each segment does to the root's distance (`contributions.exchange`); without it there are no
            contributions.
        distances: others to report beside the bounded SNR distance, from the first image to the second.
    """
    found: dict[str, float] = {}
    for name in tree.nodes:
        a, b = first.vectors[name], second.vectors[name]
        found[name] = float(bounded_snr(a, b)) if first.has(name) and second.has(name) else float("nan")
    thresholds = {name: _threshold(calibration, name) for name in found}
    own = {name: vote(np.array([d], np.float32), thresholds[name]) for name, d in found.items()}
    composed = compose(tree, own)
    part = _contributions(first, second, tree, found[tree.root], effects)
    nodes = {}
    for name, distance in found.items():
        known = not np.isnan(distance)
        nodes[name] = NodeDistance(
            distance,
            calibration[name].percentile(distance) if name in calibration else float("nan"),
            (first.has(name), second.has(name)),
            thresholds[name],
            _WORDS[int(own[name][0])],
            _WORDS[int(composed[name][0])],
            part[name],
            {kind: float(nearest(first.vectors[name][None], second.vectors[name][None], 1, kind)[0]) for kind in distances}
            if known
            else {},
        )
    return Explanation(first, second, tree, nodes)


def _threshold(calibration: Calibration, node: str) -> float:
    found = calibration[node].threshold if node in calibration else None
    return float("nan") if found is None else found


def _contributions(first: View, second: View, tree: Tree, distance: float, effects: Mapping[str, float] | None) -> dict[str, float]:
    """Of every node: the sum over its leaves."""
    if effects is None or np.isnan(distance):
        return dict.fromkeys(tree.nodes, float("nan"))
    by_leaf = shares(effects, distance, shown(first, second, list(effects)))
    return {name: sum(by_leaf[leaf] for leaf in tree.leaves(name)) for name in tree.nodes}


def telling_pairs(embeddings: Mapping[str, NodeEmbeddings], tree: Tree, count: int) -> list[tuple[str, str]]:
    """Test pairs worth looking at: alike at the root but for one leaf, and unlike at the root but for one leaf, in turn.

    Deterministic: of 4,000 random pairs those whose leaves disagree most with the root, no image used twice. Nodes stretch
    their distances differently, so each node's are compared as ranks among the pairs.
    """
    root = embeddings[tree.root]
    rows = root.rows("test")
    if len(rows) < 2:
        return []
    rng = np.random.default_rng(0)
    a = rows[rng.integers(0, len(rows), 4000)]
    b = rows[rng.integers(0, len(rows), 4000)]
    top, *below = (ranks(bounded_snr(embeddings[n].vectors[a], embeddings[n].vectors[b])) for n in (tree.root, *tree.leaves()))
    leaves = torch.stack(below)
    known = leaves.isfinite()
    alike = torch.where(known, leaves, -1.0).max(0).values - top
    unlike = top - torch.where(known, leaves, 2.0).min(0).values
    pairs: list[tuple[str, str]] = []
    used: set[int] = set()
    orders = [alike.argsort(descending=True).tolist(), unlike.argsort(descending=True).tolist()]
    while len(pairs) < count:
        order = orders[len(pairs) % 2]
        pick = next((i for i in order if a[i] != b[i] and not {int(a[i]), int(b[i])} & used), None)
        if pick is None:
            return pairs
        used |= {int(a[pick]), int(b[pick])}
        pairs.append((root.image_ids[a[pick]], root.image_ids[b[pick]]))
    return pairs
