"""The whole tree as one metric: the mean of its nodes' distances."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from heml.distances import Metric
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.retrieval import interval, search_in
from heml.params import Evaluate


def tree_metric(dims: list[int]) -> Metric:
    """The mean over nodes of the bounded SNR distance, in [0, 1], between embeddings of all nodes in a row.

    A node that one of the two images lacks (NaN) does not count; two images that share none are infinitely far apart.

    Args:
        dims: dimensions of each node.
    """

    def distances(queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(queries), len(references))
        count = torch.zeros_like(total)
        for a, b in zip(queries.split(dims, 1), references.split(dims, 1), strict=True):
            a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
            power = a.square().sum(1)[:, None] + b.square().sum(1)
            distance = (power - 2 * a @ b.T) / (2 * power).clamp_min(torch.finfo(power.dtype).tiny)
            total += distance.clamp(0, 1).nan_to_num(0.0)
            count += distance.isfinite()
        return torch.where(count > 0, total / count.clamp_min(1), torch.inf)

    return distances


def tree_vectors(embeddings: Mapping[str, NodeEmbeddings]) -> tuple[torch.Tensor, Metric]:
    """All nodes' embeddings in a row, (N, ΣD), and the tree's metric on them."""
    vectors = [node.vectors for node in embeddings.values()]
    return torch.cat(vectors, 1), tree_metric([v.shape[1] for v in vectors])


def tree_scores(embeddings: Mapping[str, NodeEmbeddings], root: str, settings: Evaluate) -> dict[str, float]:
    """P@1 with its interval and MAP@R of the whole tree on `test`, neighbours as for the root; empty where nothing can be asked."""
    top = embeddings[root]
    search = search_in(top.rows, "test", settings.search)
    if not search.possible:
        return {}
    vectors, metric = tree_vectors(embeddings)
    found = search.score(vectors, top.labels, metric)
    low, high = interval(found.p_at_1, settings.bootstrap)
    scores = {"tree_p@1": found.p_at_1.mean(), "tree_p@1_low": low, "tree_p@1_high": high, "tree_map@r": found.map_at_r.mean()}
    return {key: round(float(value), 6) for key, value in scores.items() if value == value}
