"""DIML (Zhao et al., "Towards Interpretable Deep Metric Learning with Structural Matching", ICCV 2021).

Two images are compared place by place: an optimal transport plan between the cells of their feature maps says which
place is compared with which, and how much that counts. It needs no training beyond a traditional network's.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from heml.baselines.evidence import Evidence, Match, cells, saliency
from heml.learning.networks import Architecture, MetricNetwork

_CELLS = 1 << 22
"""Pairs of images × pairs of cells matched at a time: 16 MB for each intermediate result."""


class Diml(MetricNetwork):
    """A network trained as `Traditional` that re-ranks its nearest by structural matching.

    An image is represented by its embedding and those of a grid of cells: (B, (1 + G) · D) with G cells. The embedder
    is applied to a cell's features as to the pooled ones.
    """

    def __init__(
        self,
        architecture: Architecture,
        size: tuple[int, int],
        grid: int,
        rerank: int,
        smoothing: float,
        iterations: int,
    ) -> None:
        """
        Raises:
            HemlError: the feature map is a single cell.
        """
        super().__init__(architecture, size)
        self.dims, self.rerank, self.smoothing, self.iterations = (
            architecture.embedding_dim,
            rerank,
            smoothing,
            iterations,
        )
        height, width = cells(self.trunk, size)
        self.grid = (min(grid, height), min(grid, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) → (B, (1 + G) · D), each D of length 1."""
        features = self.trunk(x)  # (B, C, h', w')
        whole = self.embedder(features)  # (B, D)
        pooled = F.adaptive_avg_pool2d(features, self.grid).flatten(2).transpose(1, 2)  # (B, G, C)
        parts = F.normalize(self.embedder.embed(pooled).float(), dim=2)  # (B, G, D)
        return torch.cat([whole[:, None], parts], 1).flatten(1)

    def metric(self, queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """Distances (Q, R) between representations: 1 − cosine of the whole images; for each query's `rerank` nearest
        by it, the mean of that and 1 − structural similarity, all of which come before the others."""
        q, r = (x.view(len(x), -1, self.dims) for x in (queries, references))
        distances = 1 - q[:, 0] @ r[:, 0].T  # (Q, R)
        found = distances.topk(min(self.rerank, len(r)), largest=False)  # (Q, K)
        refined = torch.empty_like(found.values)
        step = max(_CELLS // (found.indices.shape[1] * (q.shape[1] - 1) ** 2), 1)
        for start in range(0, len(q), step):
            rows = slice(start, start + step)
            near = r[found.indices[rows]]  # (q, K, 1 + G, D)
            refined[rows] = (
                1 - structural_similarity(q[rows, None].expand_as(near), near, self.smoothing, self.iterations)[0]
            )
        # 4: more than two distances in [0, 2]
        return (distances + 4).scatter(1, found.indices, (found.values + refined) / 2)

    @torch.inference_mode()
    def evidence(self, first: torch.Tensor, second: torch.Tensor) -> Evidence:
        """How much every cell counts, and the eight strongest matches, of two (1, 3, h, w) prepared images."""
        a, b = self(torch.cat([first, second])).view(2, -1, self.dims)  # (1 + G, D) each
        similarity, plan = structural_similarity(a, b, self.smoothing, self.iterations)
        cosines = a[1:] @ b[1:].T  # (G, G)
        rows, columns = self.grid
        count = (plan * cosines).flatten()  # (G²,)
        matches = [
            Match(
                _centre(k // (rows * columns), rows, columns),
                _centre(k % (rows * columns), rows, columns),
                float(count[k]),
            )
            for k in count.topk(min(8, len(count))).indices.tolist()
            if count[k] > 0
        ]
        size = (first.shape[2], first.shape[3])
        weights = saliency(torch.stack([plan.sum(1), plan.sum(0)]).view(2, *self.grid), size)
        return Evidence((2 - float(similarity) - float(a[0] @ b[0])) / 2, {"weight of each place": weights}, matches)


def _centre(cell: int, rows: int, columns: int) -> tuple[float, float]:
    return (cell % columns + 0.5) / columns, (cell // columns + 0.5) / rows


def structural_similarity(
    a: torch.Tensor, b: torch.Tensor, smoothing: float, iterations: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ plan · cosine over the cells of two images, and the plan.

    The plan costs 1 − cosine; its marginals are the cross-correlations: how well each cell goes with the other image as
    a whole, negative ones counting 0, evenly where none is positive.

    Args:
        a, b: (..., 1 + G, D), of length 1: the whole image, then its cells.

    Returns:
        (...) in [−1, 1], and (..., G, G), which sums to 1.
    """
    cosines = a[..., 1:, :] @ b[..., 1:, :].transpose(-1, -2)  # (..., G, G)
    rows = _shares((a[..., 1:, :] * b[..., :1, :]).sum(-1))  # (..., G)
    columns = _shares((b[..., 1:, :] * a[..., :1, :]).sum(-1))
    plan = sinkhorn(1 - cosines, rows, columns, smoothing, iterations)
    return (plan * cosines).sum((-2, -1)), plan


def _shares(correlation: torch.Tensor) -> torch.Tensor:
    positive = correlation.clamp_min(0) + 1e-5
    return positive / positive.sum(-1, keepdim=True)


def sinkhorn(
    cost: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, smoothing: float, iterations: int
) -> torch.Tensor:
    """The transport plan of least cost − smoothing · entropy (Cuturi, NeurIPS 2013), in the logarithm for stability.

    Args:
        cost: (..., G, H). rows: (..., G). columns: (..., H), each summing to 1.

    Returns:
        (..., G, H); its columns sum to `columns` exactly, its rows to `rows` up to convergence.
    """
    log_rows, log_columns = rows.log(), columns.log()
    kernel = -cost / smoothing
    v = torch.zeros_like(log_columns)
    for _ in range(iterations):
        u = log_rows - torch.logsumexp(kernel + v[..., None, :], -1)
        v = log_columns - torch.logsumexp(kernel + u[..., :, None], -2)
    return (kernel + u[..., :, None] + v[..., None, :]).exp()
