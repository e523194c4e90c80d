"""What a metric does in each group of images: P@1 by label and attribute, the worst group, and with the tie against it.

Scores by group are fairlearn's `MetricFrame` (Bird et al., 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from fairlearn.metrics import MetricFrame
from numpy.typing import NDArray

from heml.bias.association import difference, wilson
from heml.bias.attributes import Attribute
from heml.bias.ties import FEW, Labelled, agrees
from heml.distances import Metric
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.retrieval import nearest_but_itself, reported, search_in
from heml.evaluation.tree_metric import TreeMetric
from heml.params import Evaluate
from heml.tree import Tree

Hits = NDArray[np.float64]
"""Of each image, (N,), whether its nearest neighbour has its label; NaN for images that do not ask."""

GROUPS = "part kind group label images p@1 p@1_low p@1_high few".split()
LEANS = """
    part kind node train test gap with with_low with_high against against_low against_high images_with
    images_against fall fall_low fall_high worst worst_group
""".split()


@dataclass(frozen=True)
class Found:
    """Who finds whom: hits of the images of `train` and of `test`."""

    train: Hits
    test: Hits


def node_hits(embeddings: NodeEmbeddings, settings: Evaluate) -> Found:
    """Of one node, under the distance that its scores are reported under."""
    return _hits(embeddings.vectors, embeddings, reported(settings, embeddings.distance), settings)


def tree_hits(embeddings: Mapping[str, NodeEmbeddings], tree: Tree, metric: TreeMetric, settings: Evaluate) -> Found:
    """Of the tree."""
    return _hits(metric.vectors(embeddings), embeddings[tree.root], metric.metric, settings)


def _hits(vectors: torch.Tensor, rows: NodeEmbeddings, metric: Metric, settings: Evaluate) -> Found:
    parts = []
    for split in ("train", "test"):
        found = np.full(len(rows.labels), np.nan)
        search = search_in(rows.rows, split, settings.search)
        if len(search.asked) and len(search.held) > 1:
            near = nearest_but_itself(vectors, search.asked, search.held, 1, metric)[1][:, 0]
            found[search.asked] = rows.labels[search.held[near]] == rows.labels[search.asked]
        parts.append(found)
    return Found(*parts)


def group_table(attribute: Attribute, images: Labelled, hits: Hits) -> pd.DataFrame:
    """P@1 of every group and label, columns `GROUPS`, with Wilson's 95 % interval; `few`: fewer than `FEW` images
    ask."""
    asks = ~np.isnan(hits) & (attribute.values >= 0)
    if not asks.any():
        return pd.DataFrame(columns=GROUPS)
    frame = MetricFrame(
        metrics={
            "images": lambda y, p: len(p),
            "p@1": lambda y, p: float(np.mean(p)),
            "p@1_low": lambda y, p: wilson(np.asarray(p, float))[0],
            "p@1_high": lambda y, p: wilson(np.asarray(p, float))[1],
        },
        y_true=np.ones(asks.sum()),
        y_pred=hits[asks],
        sensitive_features=pd.DataFrame(
            {
                "group": np.array(attribute.groups, object)[attribute.values[asks]],
                "label": np.array(images.names, object)[images.labels[asks]],
            }
        ),
    )
    table = frame.by_group.reset_index().dropna(subset=["p@1"])
    table = table.assign(part=attribute.part, kind=attribute.kind, few=table["images"] < FEW)
    found: pd.DataFrame = table.astype({"images": int})[GROUPS]
    return found


def leaning_row(attribute: Attribute, images: Labelled, found: Found, node: str) -> dict[str, object]:
    """What a metric makes of a tie, columns `LEANS`.

    `train` and `test` are P@1 on all images that the metric sees (in `train` no image finds itself), `gap` the
    difference; `with` and `against` P@1 of the test images whose label the tie tells, and of the others; `fall` their
    difference, with a 95 % interval; `worst` the lowest P@1 of a group and label of at least `FEW` images.
    """
    hits = found.test
    row: dict[str, object] = dict.fromkeys(LEANS, np.nan) | {
        "part": attribute.part,
        "kind": attribute.kind,
        "node": node,
        "worst_group": "",
    }
    train, test = _mean(found.train), _mean(hits)
    row |= {"train": train, "test": test, "gap": train - test}
    told = agrees(attribute, images)
    asks = ~np.isnan(hits) & ~np.isnan(told)
    for name, side in (("with", 1.0), ("against", 0.0)):
        part = hits[asks & (told == side)]
        row |= {name: _mean(part), f"images_{name}": len(part)}
        row[f"{name}_low"], row[f"{name}_high"] = wilson(part)
    row["fall"], row["fall_low"], row["fall_high"] = difference(hits[asks & (told == 1)], hits[asks & (told == 0)])
    table = group_table(attribute, images, hits)
    table = table[~table["few"].astype(bool)]
    if len(table):
        worst = table.iloc[int(table["p@1"].to_numpy().argmin())]
        row |= {"worst": worst["p@1"], "worst_group": f"{worst['group']}, {worst['label']}"}
    return row


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
