"""The table of all nodes, and the few numbers that compare one experiment with another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from heml.errors import HemlError
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.limits import bayes_limit, identity_limit
from heml.evaluation.retrieval import METRICS, Search, floors, interval, reported, search_in
from heml.evaluation.tree_metric import TreeMetric
from heml.evaluation.verification import calibration_error, reliability, verify
from heml.evaluation.weighing import held_out, without_each
from heml.images.shards import Description
from heml.params import Evaluate, Segment
from heml.params import Metric as MetricSettings
from heml.tree import Tree


def node_limit(
    leaves: list[str], segments: Mapping[str, Segment], description: Description, labels: NDArray[np.int64]
) -> float:
    """The best accuracy of seeing these leaves, where the data set's tables are known; else NaN.

    Args:
        labels: of the test images, (N,), for identities that look alike there.
    """
    seen = {c for leaf in leaves for c in segments[leaf].classes}
    # an identity's outlines show in its neighbours' masks, so of a node that sees some parts it is not known
    if description.looks:
        return (
            identity_limit(list(description.looks.values()), labels) if set(description.looks) <= seen else float("nan")
        )
    classes = sorted(seen & set(description.evidence))
    return bayes_limit([description.evidence[c] for c in classes]) if classes else float("nan")


def evaluate_node(embeddings: NodeEmbeddings, settings: Evaluate) -> dict[str, Any]:
    """One row of the table: scores on `test`, P@1 on `val` and within `train`, floors, coverage.

    Only images in which the node is present ask or answer; `coverage` is their share of the test images.
    """
    row: dict[str, Any] = {}
    distance = reported(settings, embeddings.distance)
    val, test = (search_in(embeddings.rows, split, settings.search) for split in ("val", "test"))
    train = search_in(embeddings.rows, "train", "within")

    def p1(vectors: torch.Tensor, search: Search) -> float:
        return (
            float(search.score(vectors, embeddings.labels, distance)["p@1"].mean()) if search.possible else float("nan")
        )

    scores = test.score(embeddings.vectors, embeddings.labels, distance) if test.possible else None
    for name in METRICS:
        row[name] = scores[name].mean() if scores else np.nan
    row["p@1_low"], row["p@1_high"] = interval(scores["p@1"], settings.bootstrap) if scores else (np.nan, np.nan)
    over = [p1(vectors, test) for vectors in embeddings.repeats]
    row["p@1_mean"], row["p@1_sd"] = np.mean(over), np.std(over, ddof=1) if len(over) > 1 else np.nan
    row["p@1_untrained"] = p1(embeddings.untrained, test)
    row["p@1_val"], row["p@1_train"] = p1(embeddings.vectors, val), p1(embeddings.vectors, train)
    row["chance"], row["majority"] = floors(embeddings.labels[test.asked], embeddings.labels[test.held])
    row["queries"] = len(test.asked)
    row["coverage"] = len(test.asked) / max((embeddings.splits == "test").sum(), 1)
    return row


COLUMNS = [
    *"node level segments p@1 p@1_low p@1_high p@1_mean p@1_sd".split(),
    *(name for name in METRICS if name != "p@1"),
    *"limit p@1/limit chance majority p@1_untrained p@1_val p@1_train auc auc_low auc_high".split(),
    *"eer eer_low eer_high tar@far1 tar@far1_low tar@far1_high".split(),
    *"weight weight_low weight_high tree_loses queries coverage".split(),
]


def node_table(
    tree: Tree,
    embeddings: Mapping[str, NodeEmbeddings],
    metric: TreeMetric,
    segments: Mapping[str, Segment],
    description: Description,
    settings: Evaluate,
    own: MetricSettings | None = None,
) -> pd.DataFrame:
    """A row per node, leaves first. Columns are `COLUMNS`; what cannot be measured is empty.

    All but `p@1_mean` and `p@1_sd` are of the first repeat.
    `p@1_untrained` is what the common initialisation gives without training, a floor above chance.
    `p@1_val` is the paper's protocol (the split that also chose the epoch); `p@1_train` far above `p@1` on `test` says
    that the node leans on something that holds in `train` alone. `auc`, `eer` and `tar@far1` are of pairs
    (`heml.evaluation.verification`); `weight` is the node's in the tree's metric, and `tree_loses` what the tree's P@1
    loses without the node, the others' weights fitted anew.

    Args:
        own: the metric's settings; without them `tree_loses` stays empty.
    """
    rows = []
    pairs = held_out(embeddings, tree, "test", settings.search)
    whole = _tree_p1(embeddings, tree, metric, settings)
    fewer = without_each(embeddings, tree, own, settings.search, metric.penalty) if own else {}
    for column, node in enumerate(tree):
        leaves, term = tree.sees(node.name), metric.terms[node.name]
        row = evaluate_node(embeddings[node.name], settings) | verify(
            pairs, -pairs.distances[:, column], settings.bootstrap
        )
        row |= {"weight": term.weight, "weight_low": term.low, "weight_high": term.high}
        if node.name in fewer:
            row["tree_loses"] = whole - _tree_p1(embeddings, tree, fewer[node.name], settings)
        row |= {"node": node.name, "level": node.level, "segments": " ".join(leaves)}
        stored = embeddings[node.name]
        row["limit"] = node_limit(leaves, segments, description, stored.labels[stored.rows("test")])
        row["p@1/limit"] = row["p@1"] / row["limit"]
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _tree_p1(embeddings: Mapping[str, NodeEmbeddings], tree: Tree, metric: TreeMetric, settings: Evaluate) -> float:
    root = embeddings[tree.root]
    search = search_in(root.rows, "test", settings.search)
    return (
        float(search.score(metric.vectors(embeddings), root.labels, metric.metric)["p@1"].mean())
        if search.possible
        else float("nan")
    )


def tree_scores(
    embeddings: Mapping[str, NodeEmbeddings], tree: Tree, metric: TreeMetric, settings: Evaluate
) -> tuple[dict[str, float], pd.DataFrame]:
    """What the tree reaches on `test`, and its `reliability`.

    Returns:
        `METRICS`, `p@1_low`, `p@1_high`, the floors `chance` and `majority`, `queries`, those of `verify`, and `ece`;
        NaN where nothing can be asked. With it a table of `reliability`, empty where there are not both kinds of pairs.
    """
    root = embeddings[tree.root]
    search = search_in(root.rows, "test", settings.search)
    pairs = held_out(embeddings, tree, "test", settings.search)
    log_odds = metric.log_odds(pairs.distances)
    found = reliability(pairs, log_odds)
    found = found if pairs.tell else found.head(0)
    scores: dict[str, float] = {"queries": len(search.asked)} | dict.fromkeys(
        ["p@1_low", "p@1_high", *METRICS], float("nan")
    )
    scores["chance"], scores["majority"] = floors(root.labels[search.asked], root.labels[search.held])
    if search.possible:
        each = search.score(metric.vectors(embeddings), root.labels, metric.metric)
        scores |= {name: float(values.mean()) for name, values in each.items()}
        scores["p@1_low"], scores["p@1_high"] = interval(each["p@1"], settings.bootstrap)
    return scores | verify(pairs, log_odds, settings.bootstrap) | {"ece": calibration_error(found)}, found


HEADLINE = "p@1 p@1_low p@1_high map@r auc auc_low auc_high eer tar@far1 ece".split()
"""What of `tree_scores` compares experiments."""

SUMMARY = [
    *(f"tree_{key}" for key in HEADLINE),
    *"root_p@1 root_map@r root_p@1_val nodes_p@1 root_p@1_mean root_p@1_sd".split(),
    *"tree_to_limit root_to_limit nodes_to_limit".split(),
]
"""Keys of `reports/metrics.json`, as far as they are known."""


def summary(table: pd.DataFrame, root: str, scores: Mapping[str, float]) -> dict[str, float]:
    """The few metrics that DVC compares between experiments, all on `test` but `root_p@1_val`; the tree's first, limits
    only where known.

    Args:
        scores: of `tree_scores`.

    Raises:
        HemlError: no test image has anything of the root.
    """
    top = table.set_index("node").loc[root]
    if np.isnan(top["p@1"]):
        raise HemlError(f"the root {root!r} is present in no test image: nothing can be reported")
    metrics: dict[str, Any] = {f"tree_{key}": scores[key] for key in HEADLINE} | {
        "root_p@1": top["p@1"],
        "root_map@r": top["map@r"],
        "root_p@1_val": top["p@1_val"],
        "nodes_p@1": table["p@1"].mean(),
    }
    if not np.isnan(top["p@1_sd"]):
        metrics |= {"root_p@1_mean": top["p@1_mean"], "root_p@1_sd": top["p@1_sd"]}
    if not np.isnan(top["limit"]):
        metrics |= {
            "tree_to_limit": scores["p@1"] / top["limit"],
            "root_to_limit": top["p@1/limit"],
            "nodes_to_limit": table["p@1/limit"].mean(),
        }
    return {key: round(float(value), 6) for key, value in metrics.items() if not np.isnan(value)}
