"""Why two images are similar: the tree's decision on them as a sum of its nodes' evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from heml.distances import Distance, nearest
from heml.evaluation.tree_metric import TreeMetric
from heml.explanation.exchange import distances as node_distances
from heml.explanation.exchange import shares, shown
from heml.explanation.views import View
from heml.tree import Tree

SPECK = 6
"""Of at most so many canvas pixels a part is called too small to be told apart."""


@dataclass(frozen=True)
class NodeEvidence:
    """What one node says of two images."""

    distance: float
    """In [0, 1]; NaN where one of them lacks the node's segments."""
    percentile: float
    """Share of held-out pairs that are at most this far apart at the node, in [0, 100]; NaN likewise."""
    present: tuple[bool, bool]
    evidence: float
    """For one label, above 0, or against it, below, in log-odds; 0 where one of the two lacks the node. All nodes' sum
    to the tree's."""
    subtree: float
    """The sum over the node and all below it."""
    share: float
    """Of a segment: what it says at all nodes that hold it, by exchange; all leaves' sum to the tree's log-odds. Of an
    inner node the sum over its leaves. NaN where it was not measured."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Any other distance that was asked for, by name."""
    pixels: tuple[int, int] = (0, 0)
    """Canvas pixels that the node sees of each of the two."""
    weight: float = float("nan")
    """The node's in the tree's distance, in [0, 1]; with 0 it says nothing of any pair."""

    @property
    def similarity(self) -> float:
        """1 − distance."""
        return 1 - self.distance

    @property
    def absence(self) -> str:
        """`absent in the first`, `absent in the second`, `absent in both`, or nothing."""
        lacking = {(False, True): "the first", (True, False): "the second", (False, False): "both"}.get(self.present)
        return f"absent in {lacking}" if lacking else ""

    def __str__(self) -> str:
        if self.absence:
            return self.absence
        text = f"{signed(self.evidence)}  (distance {digits(self.distance)}"
        if not np.isnan(self.percentile):
            text += f", closer than {100 - self.percentile:.0f} % of pairs"
        if self.weight == 0:
            text += "; weight 0"
        if 0 < min(self.pixels) <= SPECK:
            text += f"; a speck of {min(self.pixels)} pixels, too small to be told apart"
        return text + ")" + "".join(f"  {name} {value:.3g}" for name, value in self.others.items())


@dataclass(frozen=True)
class Explanation:
    """Two images and what every node says of them; `print` it for a tree of lines."""

    first: View
    second: View
    tree: Tree
    nodes: dict[str, NodeEvidence]
    distance: float
    """The tree's, in [0, 1]."""
    log_odds: float
    """Of one label, at even odds: the sum of the nodes' evidence."""

    @property
    def probability(self) -> float:
        """Of one label, at even odds, in [0, 1]."""
        return float(1 / (1 + np.exp(-self.log_odds)))

    @property
    def decision(self) -> str:
        """`same` or `different`."""
        return "same" if self.log_odds > 0 else "different"

    @property
    def parts(self) -> dict[str, float]:
        """What each segment says in all, leaf → log-odds: by exchange where that was measured, else its own node's
        evidence."""
        leaves = {leaf: self.nodes[leaf] for leaf in self.tree.leaves()}
        measured = not any(np.isnan(node.share) for node in leaves.values())
        return {leaf: node.share if measured else node.evidence for leaf, node in leaves.items()}

    @property
    def sentence(self) -> str:
        """The answer in words: *Different (97 %), mostly because of the beard: 62 % of the evidence against.*"""
        told = f"{self.decision.capitalize()} ({certainty(self.log_odds)} %)"
        side = 1 if self.log_odds > 0 else -1
        speaking = {name: side * value for name, value in self.parts.items() if side * value > 0}
        if not speaking:
            return f"{told}, by its parts together."
        name = max(speaking, key=lambda leaf: speaking[leaf])
        part = speaking[name] / sum(speaking.values())
        how = "mostly because of" if part > 0.5 else "above all because of"
        return f"{told}, {how} {words(name)}: {100 * part:.0f} % of the evidence {'for' if side > 0 else 'against'} it."

    def __str__(self) -> str:
        notes = {name: str(d) for name, d in self.nodes.items()}
        total = (
            f"{signed(self.log_odds)} = the sum of all below: evidence for one label (+) or against it (−), in log-odds"
        )
        return f"{self.first.name} and {self.second.name}: {self.sentence}\n{total}\n{self.tree.draw(notes)}"

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON has it: what is unknown is null."""
        nodes = {}
        for name, d in self.nodes.items():
            node = self.tree[name]
            nodes[name] = {
                "level": node.level,
                "children": list(node.children),
                "present": list(d.present),
                "pixels": list(d.pixels),
                "distance": _known(d.distance),
                "similarity": _known(d.similarity),
                "percentile": _known(d.percentile),
                "evidence": d.evidence,
                "subtree": d.subtree,
                "share": _known(d.share),
                "weight": _known(d.weight),
                "distances": {key: _known(value) for key, value in d.others.items()},
            }
        return {
            "first": self.first.name,
            "second": self.second.name,
            "root": self.tree.root,
            "decision": self.decision,
            "probability": self.probability,
            "log_odds": self.log_odds,
            "distance": self.distance,
            "sentence": self.sentence,
            "nodes": nodes,
        }


def certainty(log_odds: float) -> int:
    """How sure a decision is, percent from 50 to 99: nothing is certain."""
    return min(round(100 / (1 + math.exp(-abs(log_odds)))), 99)


def words(name: str) -> str:
    """A part's name for people."""
    return name.replace("_", " ")


def digits(distance: float) -> str:
    """A distance for people: a digit more below 0.1."""
    return f"{distance:.{3 if distance < 0.1 else 2}f}"


def signed(evidence: float) -> str:
    """Evidence for people: with its sign, where two digits tell it from nothing."""
    told = f"{abs(evidence):.2f}"
    return told if told == "0.00" else f"{'−' if evidence < 0 else '+'}{told}"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def explain(
    first: View,
    second: View,
    tree: Tree,
    metric: TreeMetric,
    effects: Mapping[str, float] | None = None,
    distances: Sequence[Distance] = (),
) -> Explanation:
    """Explain a pair of views.

    Args:
        effects: what exchanging each segment does to the tree's log-odds (`exchange.exchange`); without it there are no
            shares.
        distances: others to report beside the nodes' own, from the first image to the second.
    """
    found = node_distances(first, second, metric)
    apart, evidence = (
        dict(zip(metric.terms, values.tolist(), strict=True)) for values in (found, metric.evidence(found))
    )
    log_odds = sum(evidence.values())
    by_leaf = shares(dict(effects), log_odds, shown(first, second, tree.leaves())) if effects is not None else None
    nodes: dict[str, NodeEvidence] = {}
    for node in tree:  # leaves first
        name, distance = node.name, apart[node.name]
        nodes[name] = NodeEvidence(
            distance,
            metric.terms[name].percentile(distance),
            (first.has(name), second.has(name)),
            evidence[name],
            evidence[name] + sum(nodes[child].subtree for child in node.children),
            sum(by_leaf[leaf] for leaf in tree.leaves(name)) if by_leaf else float("nan"),
            {
                kind: float(nearest(first.vectors[name][None], second.vectors[name][None], 1, kind)[0])
                for kind in distances
            }
            if not np.isnan(distance)
            else {},
            (int(first.seen(tree.sees(name)).sum()), int(second.seen(tree.sees(name)).sum())),
            metric.terms[name].weight,
        )
    return Explanation(first, second, tree, nodes, float(metric.distance(found)), log_odds)
