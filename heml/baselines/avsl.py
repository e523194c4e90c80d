"""Attributable visual similarity learning (AVSL; Zhang et al., CVPR 2022).

Two images are compared by a graph. A node is one dimension of the embedding of one level of the trunk; its value is the
squared difference of the two images there. Links join each node to those of the level below whose activation maps look
alike. From the lowest level up, a node that is not sure of itself takes the value that its linked nodes have; the sum
over the top level is the distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from heml.baselines.evidence import Evidence, cells, saliency
from heml.errors import HemlError
from heml.learning.embedders import Aim, mac, spoc
from heml.learning.networks import Architecture, MetricNetwork
from heml.learning.objectives import Objective
from heml.params import AvslSettings, Train

LEVELS = 3
_CELLS = 1 << 24
"""Pairs × dimensions compared at a time: 64 MB for each intermediate result."""


class Graph(nn.Module):
    """Feature maps of `LEVELS` levels, lowest first, to representations of images, and these to distances.

    A representation (B, 2·LEVELS·D) holds, per level, the embedding (length 1) and how sure each of its dimensions is:
    how far its activation map stands out in places, see `certainty`.
    """

    links: torch.Tensor
    linked: torch.Tensor

    def __init__(self, channels: Sequence[int], embedding_dim: int, kept: int, momentum: float) -> None:
        super().__init__()
        self.dims, self.kept, self.momentum = embedding_dim, min(kept, embedding_dim), momentum
        self.to_nodes = nn.ModuleList(nn.Conv2d(c, embedding_dim, 1) for c in channels)
        self.alpha = nn.Parameter(torch.ones(LEVELS - 1, embedding_dim))
        self.beta = nn.Parameter(torch.zeros(LEVELS - 1, embedding_dim))
        self.register_buffer("links", torch.zeros(LEVELS - 1, embedding_dim, embedding_dim))
        """Running mean of the correlations, (step, higher node, lower node)."""
        self.register_buffer("linked", torch.tensor(False))

    def activations(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Activation maps of the nodes, (B, D, h, w) per level.

        A level is pooled by its average plus its maximum. The maximum counts where it occurs, times the number of
        positions, so that the mean of a map is the node's (unnormalised) embedding.
        """
        maps = []
        for layer, x in zip(self.to_nodes, features, strict=True):
            flat = x.flatten(2)
            highest, where = flat.max(2, keepdim=True)
            maps.append(layer((flat + torch.zeros_like(flat).scatter(2, where, highest * flat.shape[2])).view_as(x)))
        return maps

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        embeddings = [
            F.normalize(layer((spoc(x) + mac(x))[:, :, None, None]).flatten(1), dim=1)
            for layer, x in zip(self.to_nodes, features, strict=True)
        ]
        with torch.no_grad():
            maps = self.activations(features)
            if self.training:
                self._link(maps)
            certainties = [certainty(m) for m in maps]
        return torch.cat(embeddings + certainties, 1)

    def _link(self, maps: Sequence[torch.Tensor]) -> None:
        """Move the links towards this batch's mean cosine between the maps of adjacent levels."""
        found = []
        for low, high in pairwise(maps):
            pooled = F.adaptive_avg_pool2d(low, (high.shape[2], high.shape[3]))  # (B, D, h, w)
            low = F.normalize(pooled.flatten(2), dim=2)
            found.append(torch.einsum("bhp,blp->hl", F.normalize(high.flatten(2), dim=2), low) / len(low))  # (D, D)
        momentum = self.momentum if bool(self.linked) else 0.0
        self.links.mul_(momentum).add_(torch.stack(found), alpha=1 - momentum)  # (LEVELS − 1, D, D)
        self.linked.fill_(True)

    def shares(self) -> torch.Tensor:
        """The links in use, (step, higher node, lower node): each node's `kept` strongest, summing to 1."""
        strongest = self.links.clamp_min(0).topk(self.kept, dim=2)  # (LEVELS − 1, D, kept)
        shares = torch.zeros_like(self.links).scatter(2, strongest.indices, strongest.values + 1e-8)
        return shares / shares.sum(2, keepdim=True)

    def split(self, representations: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Embeddings and certainties per level, (B, D) each."""
        parts = list(representations.split(self.dims, dim=1))
        return parts[:LEVELS], parts[LEVELS:]

    def compare(self, first: torch.Tensor, second: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Representations (..., 2·LEVELS·D) that broadcast against each other → the nodes of every level as they are,
        and those of the top level as mended from below, (..., D) each.

        No gradient of the mended nodes reaches the embeddings: they teach the gates alone.
        """
        one, other = first.unflatten(-1, (2, LEVELS, self.dims)), second.unflatten(-1, (2, LEVELS, self.dims))
        nodes = [(one[..., 0, k, :] - other[..., 0, k, :]).square() for k in range(LEVELS)]  # (..., D) each
        mended = nodes[0].detach()
        for k, shares in enumerate(self.shares()):
            sure = one[..., 1, k + 1, :] * other[..., 1, k + 1, :]  # (..., D)
            gate = torch.sigmoid(10 * (self.alpha[k] * sure + self.beta[k]))
            mended = gate * nodes[k + 1].detach() + (1 - gate) * (mended @ shares.T)
        return nodes, mended

    @torch.no_grad()
    def metric(self, queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """Distances (Q, R) between representations, in [0, 4], on the CPU."""
        step = max(_CELLS // max(len(references) * self.dims, 1), 1)
        references = references.to(self.alpha.device)
        parts = (part[:, None].to(self.alpha.device) for part in queries.split(step))
        return torch.cat([self.compare(part, references)[1].sum(2).cpu() for part in parts])


def certainty(maps: torch.Tensor) -> torch.Tensor:
    """Standard deviation over positions of the maps, (B, D, h, w), brought to a minimum of 0 and a sum of 1: (B, D), in
    [0, 0.5].

    0 for an even map, and for a single cell.
    """
    flat = maps.flatten(2)  # (B, D, h·w)
    raised = flat - flat.amin(2, keepdim=True)
    return (raised / raised.sum(2, keepdim=True).clamp_min(1e-12)).std(2, correction=0)


class Avsl(MetricNetwork):
    """A trunk whose last three resolutions feed a `Graph`; of ResNet, from 32 pixels, layers 2 to 4."""

    embedder: Graph  # type: ignore[assignment]

    def __init__(self, architecture: Architecture, size: tuple[int, int], settings: AvslSettings) -> None:
        """
        Raises:
            HemlError: the trunk has not three resolutions for images of that size, or the last is a single cell, whose
                gates could not tell one image from another.
        """
        super().__init__(architecture, size)
        cells(self.trunk, size)
        self.taken, channels = _levels(self.trunk, size)
        dims = architecture.embedding_dim
        self.gate_lr, self.level_weights = settings.gate_lr, settings.level_weights
        self.embedder = Graph(channels, dims, settings.links or max(dims // 4, 1), settings.momentum)

    def at_own_rate(self) -> list[tuple[list[nn.Parameter], float]]:
        """The gates: at the trunk's rate they would stay where they began."""
        return [([self.embedder.alpha, self.embedder.beta], self.gate_lr)]

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, h, w) → the maps of the three levels."""
        found = []
        for i, step in enumerate(_steps(self.trunk)):
            x = step(x)
            if i in self.taken:
                found.append(x)
        return found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) → representations (B, 2·LEVELS·D)."""
        representations: torch.Tensor = self.embedder(self.features(x))
        return representations

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim, half: bool = False) -> tuple[torch.Tensor, int]:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            features = self.features(x)
        return aim(self.embedder([f.float() for f in features]), labels)

    def metric(self, queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """Distances (Q, R) between representations; see `Graph`."""
        return self.embedder.metric(queries, references)

    def aim(self, settings: Train, classes: int) -> Objective:
        """The loss, triplet_margin or proxy_anchor, of every level's distance, by `level_weights`, and of the mended
        one, summed."""
        kind = {"triplet_margin": TripletLoss, "proxy_anchor": ProxyAnchorLoss}[settings.loss]
        return Objective(kind(self.embedder, settings.options, classes, self.level_weights), None, self.metric)

    @torch.inference_mode()
    def evidence(self, first: torch.Tensor, second: torch.Tensor) -> Evidence:
        """Where the similarity comes from, as a whole and of the two strongest nodes, in two (1, 3, h, w) prepared
        images.

        The sum over the top level is Σ (a² + b² − 2ab) for embeddings a and b of length 1, so a node's similarity is
        (a² + b² − its mended value) / 2. It lies where the node's activation has the sign of its embedding.
        """
        features = self.features(torch.cat([first, second]))  # (2, C, h, w) of every level
        representations = self.embedder(features)
        mended = self.embedder.compare(representations[0], representations[1])[1]  # (D,)
        a, b = self.embedder.split(representations)[0][-1]  # (D,) each, of the top level
        similar = ((a.square() + b.square() - mended) / 2).clamp_min(0)
        maps = self.embedder.activations(features)[-1] * torch.stack([a, b]).sign()[:, :, None, None]  # (2, D, h, w)
        size = (first.shape[2], first.shape[3])
        found = {"similarity": saliency((maps * similar[:, None, None]).sum(1), size)}
        for node in similar.topk(min(2, len(similar))).indices.tolist():
            found[f"node {node}: {100 * similar[node] / similar.sum().clamp_min(1e-12):.0f} %"] = saliency(
                maps[:, node], size
            )
        return Evidence(float(mended.sum()), found)


class _GraphLoss(nn.Module):
    def __init__(self, graph: Graph, options: dict[str, float], classes: int, level_weights: Sequence[float]) -> None:
        super().__init__()
        self.graph = (graph,)  # in a tuple: its weights are the network's, not this loss's
        self.options = options
        self.weights = (*level_weights, 1.0)

    def distances(self, first: torch.Tensor, second: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        """Weight and distances (B, N), of every level and the mended one."""
        nodes, mended = self.graph[0].compare(first[:, None], second[None])
        return [(weight, part.sum(2)) for weight, part in zip(self.weights, (*nodes, mended), strict=True)]


class TripletLoss(_GraphLoss):
    """max(0, d(a, p) − d(a, n) + margin), averaged where positive, summed over the distances by their weights."""

    def forward(self, representations: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        same = labels[:, None] == labels  # (B, B)
        positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        triplets = positive[:, :, None] & ~same[:, None, :]  # (B, B, B)
        total = representations.sum() * 0
        for weight, d in self.distances(representations, representations):
            violations = (d[:, :, None] - d[:, None, :] + self.options["margin"])[triplets].clamp_min(0)
            total = total + weight * violations.sum() / (violations > 0).sum().clamp_min(1)
        return total


class ProxyAnchorLoss(_GraphLoss):
    """Proxy anchor (Kim et al., CVPR 2020) with a proxy per class and level, summed over the distances by their
    weights.

    A proxy is as sure of its nodes as the batch is on average.
    """

    def __init__(self, graph: Graph, options: dict[str, float], classes: int, level_weights: Sequence[float]) -> None:
        super().__init__(graph, options, classes, level_weights)
        self.proxies = nn.Parameter(torch.empty(LEVELS, classes, graph.dims))
        nn.init.kaiming_normal_(self.proxies, mode="fan_out")

    def forward(self, representations: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        sure = [c.mean().expand(self.proxies.shape[1:]) for c in self.graph[0].split(representations)[1]]
        proxies = torch.cat([*F.normalize(self.proxies, dim=2), *sure], 1)  # (classes, 2·LEVELS·D)
        own = F.one_hot(labels, len(proxies)).bool()  # (B, classes)
        total = representations.sum() * 0
        for weight, d in self.distances(representations, proxies):
            similarity = 1 - d / 2  # the cosine, where nothing is mended
            pull = torch.where(own, -self.options["alpha"] * (similarity - self.options["margin"]), -torch.inf)
            push = torch.where(own, -torch.inf, self.options["alpha"] * (similarity + self.options["margin"]))
            total = total + weight * (_log1p_sum_exp(pull).sum() / own.any(0).sum() + _log1p_sum_exp(push).mean())
        return total


def _log1p_sum_exp(x: torch.Tensor) -> torch.Tensor:
    """log(1 + Σ exp x) over the rows of (B, C): (C,)."""
    return torch.cat([x, torch.zeros_like(x[:1])]).logsumexp(0)


def _steps(trunk: nn.Module) -> Iterator[nn.Module]:
    """The trunk's modules in order of use, with those of `features` and `blocks` one by one."""
    for name, module in trunk.named_children():
        if name in ("features", "blocks") and isinstance(module, nn.Sequential):
            yield from module
        else:
            yield module


def _levels(trunk: nn.Module, size: tuple[int, int]) -> tuple[list[int], list[int]]:
    """The last step of each of the three lowest resolutions, and its channels."""
    last: dict[tuple[int, int], tuple[int, int]] = {}
    was_training = trunk.training
    trunk.eval()
    with torch.inference_mode():
        x = torch.zeros(1, 3, *size)
        for i, step in enumerate(_steps(trunk)):
            x = step(x)
            last[x.shape[2], x.shape[3]] = (i, x.shape[1])
    trunk.train(was_training)
    if len(last) < LEVELS:
        raise HemlError(
            f"avsl: needs three resolutions, the trunk has {len(last)} for inputs of {size[0]}×{size[1]} pixels;"
            " enlarge `canvas`"
        )
    taken = sorted(last.values())[-LEVELS:]
    return [i for i, _ in taken], [c for _, c in taken]
