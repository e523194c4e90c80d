"""The table of all nodes, and the few numbers that compare one experiment with another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from heml.datasets.limits import bayes_limit
from heml.datasets.store import Description
from heml.errors import HemlError
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.retrieval import floors, interval, score
from heml.params import Evaluate, Segment
from heml.tree import Tree


def node_limit(leaves: list[str], segments: Mapping[str, Segment], description: Description) -> float:
    """Bayes-optimal accuracy of seeing these leaves, where the data set's tables are known; else NaN."""
    classes = sorted({c for leaf in leaves for c in segments[leaf].classes} & set(description.evidence))
    return bayes_limit([description.evidence[c] for c in classes]) if classes else float("nan")


def evaluate_node(embeddings: NodeEmbeddings, settings: Evaluate) -> dict[str, Any]:
    """One row of the table: scores on `test`, P@1 on `val` and within `train`, floors, coverage.

    Only images in which the node is present ask or answer; `coverage` is their share of the test images.
    """
    row: dict[str, Any] = {}
    train = embeddings.rows("train")
    for split in ("test", "val"):
        asked = embeddings.rows(split)
        within = settings.search == "within"
        held = asked if within else train
        usable = len(asked) > within and len(held) > within
        scores = (
            score(
                embeddings.vectors[asked],
                embeddings.labels[asked],
                embeddings.vectors[held],
                embeddings.labels[held],
                settings.distance,
                within,
            )
            if usable
            else None
        )
        if split == "val":
            row["p@1_val"] = scores.p_at_1.mean() if scores else np.nan
            continue
        for name, field in (("p@1", "p_at_1"), ("p@2", "p_at_2"), ("p@8", "p_at_8"), ("r_precision", "r_precision"), ("map@r", "map_at_r")):
            row[name] = getattr(scores, field).mean() if scores else np.nan
        row["p@1_low"], row["p@1_high"] = interval(scores.p_at_1, settings.bootstrap) if scores else (np.nan, np.nan)
        row["chance"], row["majority"] = floors(embeddings.labels[asked], embeddings.labels[held])
        row["queries"] = len(asked)
        row["coverage"] = len(asked) / max((embeddings.splits == split).sum(), 1)
    row["p@1_train"] = np.nan
    if len(train) > 1:
        labels, vectors = embeddings.labels[train], embeddings.vectors[train]
        row["p@1_train"] = score(vectors, labels, vectors, labels, settings.distance, within=True).p_at_1.mean()
    return row


COLUMNS = """node level segments p@1 p@1_low p@1_high p@2 p@8 r_precision map@r limit p@1/limit chance majority p@1_val p@1_train
queries coverage""".split()


def node_table(
    tree: Tree, embeddings: Mapping[str, NodeEmbeddings], segments: Mapping[str, Segment], description: Description, settings: Evaluate
) -> pd.DataFrame:
    """A row per node, leaves first. Columns are `COLUMNS`; what cannot be measured is empty.

    `p@1_val` is the paper's protocol (the split that also chose the epoch); `p@1_train` far above `p@1` on `test` says
    that the node leans on something that holds in `train` alone.
    """
    rows = []
    for node in tree:
        leaves = tree.leaves(node.name)
        row = evaluate_node(embeddings[node.name], settings)
        row |= {"node": node.name, "level": node.level, "segments": " ".join(leaves)}
        row["limit"] = node_limit(leaves, segments, description)
        row["p@1/limit"] = row["p@1"] / row["limit"]
        rows.append(row)
    return pd.DataFrame(rows)[COLUMNS]


def summary(table: pd.DataFrame, root: str) -> dict[str, float]:
    """The few metrics that DVC compares between experiments. P@1 and MAP@R on `test`; limits only where known.

    Raises:
        HemlError: no test image has anything of the root.
    """
    top = table.set_index("node").loc[root]
    if np.isnan(top["p@1"]):
        raise HemlError(f"the root {root!r} is present in no test image: nothing can be reported")
    metrics: dict[str, Any] = {
        "root_p@1": top["p@1"],
        "root_map@r": top["map@r"],
        "root_p@1_val": top["p@1_val"],
        "nodes_p@1": table["p@1"].mean(),
    }
    if not np.isnan(top["limit"]):
        metrics |= {"root_to_limit": top["p@1/limit"], "nodes_to_limit": table["p@1/limit"].mean()}
    return {key: round(float(value), 6) for key, value in metrics.items() if not np.isnan(value)}
