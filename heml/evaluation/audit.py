"""What to look at in a data set: what siblings share, which searches go wrong and which node is to blame, odd images,
and telling pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from heml.atomic import new_folder
from heml.cells import write_csv
from heml.distances import Metric
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.pairing import MOST_PAIRS, draw_pairs, measure, pair_distances
from heml.evaluation.retrieval import interval, nearest_but_itself, reported, search_in
from heml.evaluation.telling import PAIRS, TELLING, telling_pairs
from heml.evaluation.tree_metric import TreeMetric
from heml.images.shards import SPLITS
from heml.params import Evaluate
from heml.tree import Tree

NEAREST = 10
"""Training images that are asked about an image's label."""

SIBLINGS = "node left right correlation both only_left only_right neither gain gain_low gain_high images".split()
MISTAKES = "image_id label nearest nearest_label nearest_split distance right right_distance blame blame_share".split()
IMAGES = "image_id split label wrong_nodes nodes margin doubt suggested outlier".split()


def _hits(embeddings: NodeEmbeddings, settings: Evaluate) -> NDArray[np.float64]:
    """Per image, whether its nearest neighbour at the node has its label; NaN for images that do not ask."""
    found = np.full(len(embeddings.labels), np.nan)
    search = search_in(embeddings.rows, "test", settings.search)
    if search.possible:
        near = search.nearest(embeddings.vectors, 1, reported(settings, embeddings.distance))[:, 0]
        found[search.asked] = embeddings.labels[near] == embeddings.labels[search.asked]
    return found


def write_audit(
    embeddings: Mapping[str, NodeEmbeddings], tree: Tree, metric: TreeMetric, settings: Evaluate, folder: str | Path
) -> None:
    """Write `siblings.csv`, `mistakes.csv` and `images.csv`, their columns those of the functions below, and
    `pairs.csv`, the pairs of `telling_pairs`."""
    tables = {
        "siblings": sibling_table(embeddings, tree, settings),
        "mistakes": mistake_table(embeddings, tree, metric, settings),
        "images": image_table(embeddings, tree, metric, settings),
        "pairs": pd.DataFrame(telling_pairs(embeddings, tree, TELLING), columns=PAIRS),
    }
    with new_folder(folder) as partial:
        for name, table in tables.items():
            write_csv(table, partial / f"{name}.csv", "%.6g")


def sibling_table(embeddings: Mapping[str, NodeEmbeddings], tree: Tree, settings: Evaluate) -> pd.DataFrame:
    """What the two children of every inner node have in common, and what joining them brings.

    Columns `SIBLINGS`: Spearman's correlation of the children's distances over pairs of `test` (near 1: one repeats the
    other); the shares of test images for which both, one or neither finds a neighbour of the right label; the node's
    P@1 less that of its better child, with a 95 % bootstrap interval over the images that all three see.
    """
    hits = {name: _hits(stored, settings) for name, stored in embeddings.items()}
    root = embeddings[tree.root]
    a, b = draw_pairs(np.flatnonzero(root.splits == "test"), MOST_PAIRS)
    rows: list[dict[str, Any]] = []
    for node in tree:
        if not node.children:
            continue
        left, right = node.children
        x, y = (pair_distances(embeddings[child], a, b) for child in (left, right))
        known = ~(np.isnan(x) | np.isnan(y))
        row: dict[str, Any] = {"node": node.name, "left": left, "right": right}
        tells = known.sum() > 2 and np.ptp(x[known]) > 0 and np.ptp(y[known]) > 0
        row["correlation"] = _spearman(x[known], y[known]) if tells else np.nan
        all_three = ~np.isnan(hits[left] + hits[right] + hits[node.name])
        own, l, r = (hits[name][all_three] for name in (node.name, left, right))  # noqa: E741
        row["images"] = len(own)
        if len(own):
            row |= {"both": (l * r).mean(), "only_left": (l * (1 - r)).mean(), "only_right": ((1 - l) * r).mean()}
            row["neither"] = ((1 - l) * (1 - r)).mean()
            better = l if l.mean() >= r.mean() else r
            row["gain"] = (own - better).mean()
            row["gain_low"], row["gain_high"] = interval(own - better, settings.bootstrap)
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=SIBLINGS)


def mistake_table(
    embeddings: Mapping[str, NodeEmbeddings], tree: Tree, metric: TreeMetric, settings: Evaluate
) -> pd.DataFrame:
    """The test images whose nearest neighbour by the tree has another label, the surest mistakes first, and the node to
    blame.

    Columns `MISTAKES`: `right` is the nearest image of the right label, `distance` and `right_distance` are the tree's.
    Since the tree's distance is a sum over its nodes, so is the difference of the two; `blame` is the node that adds
    most to it, `blame_share` what it adds over what all nodes that prefer the wrong image add.
    """
    root = embeddings[tree.root]
    search = search_in(root.rows, "test", settings.search)
    if not search.possible:
        return pd.DataFrame(columns=MISTAKES)
    vectors = metric.vectors(embeddings)
    closest = search.nearest(vectors, 1, metric.metric)[:, 0]
    rightful = _nearest_of_label(vectors, root.labels, search.asked, search.held, metric.metric, same=True)
    names, rows = list(embeddings), []
    for row, found, right in zip(search.asked.tolist(), closest.tolist(), rightful.tolist(), strict=True):
        if root.labels[found] == root.labels[row] or right < 0:
            continue
        apart = measure(embeddings, root.labels, np.array([row, row]), np.array([found, right])).distances
        near, far = metric.distance(apart)
        wrong = np.diff(metric.parts(apart), axis=0)[0]  # above 0: the node prefers the wrong image
        worst = int(wrong.argmax())
        rows.append(
            {
                "image_id": root.image_ids[row],
                "label": root.labels[row],
                "nearest": root.image_ids[found],
                "nearest_label": root.labels[found],
                "nearest_split": root.splits[found],
                "distance": near,
                "right": root.image_ids[right],
                "right_distance": far,
                "blame": names[worst],
                "blame_share": wrong[worst] / max(wrong[wrong > 0].sum(), 1e-12),
            }
        )
    table = pd.DataFrame(rows, columns=MISTAKES)
    return table.assign(gap=table["right_distance"] - table["distance"]).sort_values(
        "gap", ascending=False, kind="stable"
    )[MISTAKES]


def image_table(
    embeddings: Mapping[str, NodeEmbeddings], tree: Tree, metric: TreeMetric, settings: Evaluate
) -> pd.DataFrame:
    """Every image that the root sees: how hard it is, whether its label is to be doubted, whether it is unlike all
    others.

    Neighbours are searched as `evaluate.search` has it, in `train` or within the image's own split. Columns `IMAGES`:
    at how many of its nodes its nearest neighbour has another label; and by the tree's distance: `margin`, the distance
    to the nearest of another label less that to the nearest of its own, over their sum, in [−1, 1], wrong below 0;
    `doubt`, the share of its `NEAREST` nearest that have another label, `suggested` being the commonest of theirs;
    `outlier`, its mean distance to the nearest five as a share of the images that are closer to theirs. No image is its
    own neighbour. A training image's own label was trained on, so its `doubt` is understated.
    """
    vectors = metric.vectors(embeddings)
    tables = [_images_of(split, embeddings, tree, metric, vectors, settings) for split in SPLITS]
    table = pd.concat([found for found in tables if len(found)] or tables).sort_values("row", kind="stable")
    if len(table):
        table["outlier"] = np.searchsorted(np.sort(table["outlier"]), table["outlier"]) / len(table)
    return table[IMAGES].reset_index(drop=True)


def _images_of(
    split: str,
    embeddings: Mapping[str, NodeEmbeddings],
    tree: Tree,
    metric: TreeMetric,
    vectors: torch.Tensor,
    settings: Evaluate,
) -> pd.DataFrame:
    """A split's rows of `image_table`, `outlier` still a distance; `row` is the image's."""
    root, searched = embeddings[tree.root], split if settings.search == "within" else "train"
    asked, held = root.rows(split), root.rows(searched)
    if len(held) < 2 or not len(asked):
        return pd.DataFrame(columns=[*IMAGES, "row"])
    wrong, seen = np.zeros(len(root.labels), int), np.zeros(len(root.labels), int)
    for stored in embeddings.values():
        rows, among = stored.rows(split), stored.rows(searched)
        if len(among) > 1 and len(rows):
            near = among[
                nearest_but_itself(stored.vectors, rows, among, 1, reported(settings, stored.distance))[1][:, 0]
            ]
            wrong[rows] += stored.labels[near] != stored.labels[rows]
            seen[rows] += 1
    ends = [_nearest_of_label(vectors, root.labels, asked, held, metric.metric, same) for same in (True, False)]
    own, other = (_distances(vectors, asked, end, metric) for end in ends)
    apart, near = nearest_but_itself(vectors, asked, held, NEAREST, metric.metric)
    jury = root.labels[held[near]]
    return pd.DataFrame(
        {
            "image_id": np.array(root.image_ids, dtype=object)[asked],
            "split": split,
            "label": root.labels[asked],
            "wrong_nodes": wrong[asked],
            "nodes": seen[asked],
            "margin": (other - own) / np.maximum(other + own, 1e-12),
            "doubt": (jury != root.labels[asked, None]).mean(1),
            "suggested": [np.bincount(row).argmax() for row in jury],
            "outlier": apart[:, :5].mean(1),
            "row": asked,
        }
    )


def _distances(
    vectors: torch.Tensor, rows: NDArray[np.int64], others: NDArray[np.int64], metric: TreeMetric
) -> NDArray[np.float64]:
    """The tree's distance of each row to one other, NaN where that is −1."""
    signed = vectors[rows] * metric.signature(vectors.shape[1])
    found = metric.threshold - (signed * vectors[np.maximum(others, 0)]).sum(1).double().numpy()
    return np.where(others >= 0, np.maximum(found, 0.0), np.nan)


def _spearman(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Rank correlation of two rows of numbers; pandas has it without all of scipy.stats."""
    return float(pd.DataFrame({"x": x, "y": y}).corr(method="spearman").to_numpy()[0, 1])


def _nearest_of_label(
    vectors: torch.Tensor,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    held: NDArray[np.int64],
    metric: Metric,
    same: bool,
) -> NDArray[np.int64]:
    """Of each row the nearest of `held` that has its label, or (not `same`) another one; itself left out; −1 where
    there is none.

    A search per label: ranking all of `held` for every row would take their product in memory.
    """
    found = np.full(len(rows), -1)
    for label in np.unique(labels[rows]):
        asking = np.flatnonzero(labels[rows] == label)
        among = held[(labels[held] == label) == same]
        if len(among) > 1:
            found[asking] = among[nearest_but_itself(vectors, rows[asking], among, 1, metric)[1][:, 0]]
        elif len(among):
            found[asking] = np.where(rows[asking] == among[0], -1, among[0])
    return found
