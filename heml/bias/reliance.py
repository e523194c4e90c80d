"""How much the tree's answer moves when one part alone is exchanged between two images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from heml.bias.attributes import Attribute
from heml.distances import correlation_distance
from heml.evaluation.tree_metric import TreeMetric
from heml.explanation.exchange import Embed, distances, give
from heml.explanation.views import View
from heml.progress import progress
from heml.tree import Tree

RELIANCE = "part kind group pairs shift shift_low shift_high different turned".split()


@dataclass(frozen=True)
class Exchanged:
    """One part given by one image to another, over P pairs in both directions."""

    part: str
    ends: NDArray[np.int64]
    """(2P, 2): the image that is given the part, and the one that gives it."""
    before: NDArray[np.float64]
    """(2P,): log-odds of one label for the two."""
    after: NDArray[np.float64]
    """(2P,): of the recomposed image and the giver."""


def pairs_of_two_labels(rows: NDArray[np.int64], labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many pairs of rows of different labels, drawn evenly over the images, (P, 2)."""
    rng = np.random.default_rng(0)
    found: list[tuple[int, int]] = []
    for _ in range(20 * count if len(np.unique(labels[rows])) > 1 else 0):
        a, b = rng.choice(rows, 2, replace=False).tolist()
        if labels[a] != labels[b]:
            found.append((a, b))
        if len(found) == count:
            break
    return np.array(found, np.int64).reshape(-1, 2)


def exchanges(
    pairs: NDArray[np.int64], view: Callable[[int], View], tree: Tree, metric: TreeMetric, embed: Embed
) -> Iterator[Exchanged]:
    """Of every leaf in turn, what its exchange does to the tree's log-odds, in both directions of each pair that shows
    it.

    Each node that holds the leaf embeds the recomposed images; the others' distances stay.
    """
    views = {row: view(row) for row in np.unique(pairs).tolist()}
    for leaf in progress(tree.leaves(), "exchange parts", unit="part"):
        ends = [
            (one, other)
            for a, b in pairs.tolist()
            for one, other in ((a, b), (b, a))
            if views[a].masks[leaf].any() or views[b].masks[leaf].any()
        ]
        whole = (
            np.stack([distances(views[one], views[other], metric) for one, other in ends])
            if ends
            else np.zeros((0, len(metric.terms)))
        )
        changed = whole.copy()
        given = [give(views[one], views[other], [leaf]) for one, other in ends]
        for column, (name, term) in enumerate(metric.terms.items()):
            below = tree.sees(name)
            if leaf in below and term.slope and ends:
                found = embed(name, [(image.canvas, image.seen(below)) for image in given])
                changed[:, column] = correlation_distance(
                    found, torch.stack([views[other].vectors[name] for _, other in ends])
                ).numpy()
        yield Exchanged(leaf, np.array(ends, np.int64).reshape(-1, 2), metric.log_odds(whole), metric.log_odds(changed))


def reliance_rows(exchanged: Exchanged, attributes: Sequence[Attribute]) -> Iterator[dict[str, object]]:
    """Columns `RELIANCE`: of a part as a whole, then of the pairs in which its giver is of each group.

    `shift` is the mean change of the log-odds when an image is given the part of one of another label, with its 95 %
    interval; of the `different` pairs, those that the tree calls so before, `turned` is the share that it then calls
    the same: one part is enough.
    """
    rise = exchanged.after - exchanged.before
    givers = exchanged.ends[:, 1]
    yield _reliance(exchanged, rise, np.ones(len(rise), bool), "", "all")
    for attribute in attributes:
        for k, group in enumerate(attribute.groups):
            inside = attribute.values[givers] == k
            if inside.any():
                yield _reliance(exchanged, rise, inside, attribute.kind, group)


def _reliance(
    exchanged: Exchanged, rise: NDArray[np.float64], inside: NDArray[np.bool_], kind: str, group: str
) -> dict[str, object]:
    values, different = rise[inside], inside & (exchanged.before < 0)
    spread = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    mean = float(values.mean()) if len(values) else np.nan
    return {
        "part": exchanged.part,
        "kind": kind,
        "group": group,
        "pairs": len(values),
        "shift": mean,
        "shift_low": mean - spread,
        "shift_high": mean + spread,
        "different": int(different.sum()),
        "turned": float((exchanged.after[different] > 0).mean()) if different.any() else np.nan,
    }


def reliance_table(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """The rows as a table."""
    return pd.DataFrame(rows, columns=RELIANCE)
