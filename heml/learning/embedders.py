"""Embedders: a trunk's feature map (B, C, h', w') to embeddings (B, D) of length 1, and what they add to the loss.

`plain` is the paper's; the others are the field's feature augmentations, by the names of `heml.params.EMBEDDERS`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from heml.params import EMBEDDERS

Aim = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, int]]
"""Embeddings (B, D) and labels (B,) → loss and the number of mined triplets."""


def spoc(x: torch.Tensor) -> torch.Tensor:
    """Sum-pooled convolutional features (Babenko & Lempitsky 2015), as the mean: (B, C, h, w) → (B, C)."""
    return x.mean((2, 3))


def mac(x: torch.Tensor) -> torch.Tensor:
    """Maximum activation of convolutions (Tolias et al. 2016): (B, C, h, w) → (B, C)."""
    return x.amax((2, 3))


class GeM(nn.Module):
    """Generalised mean with a learned exponent (Radenović et al. 2019): (B, C, h, w) → (B, C)."""

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = self.p.clamp_min(1.0)
        return x.float().clamp_min(1e-6).pow(p).mean((2, 3)).pow(1 / p)


class Embedder(nn.Module):
    """A multi-layer perceptron with one hidden layer on the pooled features."""

    def __init__(self, features: int, hidden_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden_dim)
        self.out = nn.Linear(hidden_dim, embedding_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h', w') → (B, D), rows of length 1, float32 under autocast too."""
        return F.normalize(self.embed(spoc(x)).float(), dim=1)

    def embed(self, pooled: torch.Tensor) -> torch.Tensor:
        """(B, C) → (B, D), of any length."""
        embedded: torch.Tensor = self.out(F.relu(self.hidden(pooled)))
        return embedded

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim) -> tuple[torch.Tensor, int]:
        """Training loss of a batch of feature maps, and the number of mined triplets."""
        return aim(self(x), labels)


class BatchDropBlock(Embedder):
    """Batch feature erasing (Dai et al., ICCV 2019): half of the dimensions see the whole map, half a map in which a band of a
    third of its rows, the same for the batch, is erased in training. The second half is max-pooled, as in the paper.
    """

    def __init__(self, features: int, hidden_dim: int, embedding_dim: int) -> None:
        super().__init__(features, hidden_dim, embedding_dim - embedding_dim // 2)
        self.erased = Embedder(features, hidden_dim, embedding_dim // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = F.normalize(self.embed(spoc(x)).float(), dim=1)
        part = F.normalize(self.erased.embed(mac(self.erase(x))).float(), dim=1)
        return torch.cat([whole, part], 1) / 2**0.5

    def erase(self, x: torch.Tensor) -> torch.Tensor:
        """The map with the band set to 0; the map itself in evaluation, or where it has a single row."""
        rows = x.shape[2]
        if not self.training or rows == 1:
            return x
        band = max(round(rows / 3), 1)
        top = int(torch.randint(rows - band + 1, ()))
        kept = torch.ones(rows, 1, dtype=x.dtype, device=x.device)
        kept[top : top + band] = 0
        return x * kept


class GlobalDescriptors(Embedder):
    """Combination of multiple global descriptors (Jun et al. 2019): SPoC, MAC and GeM, each through a layer of its own to a
    third of the dimensions and to length 1, joined; a classifier on the first adds cross-entropy (temperature 0.5,
    smoothing 0.1).
    """

    def __init__(self, features: int, hidden_dim: int, embedding_dim: int, classes: int) -> None:
        nn.Module.__init__(self)
        third = embedding_dim // 3
        self.gem = GeM()
        self.layers = nn.ModuleList(nn.Linear(features, n) for n in (third, third, embedding_dim - 2 * third))
        self.norm = nn.BatchNorm1d(features)
        self.classifier = nn.Linear(features, classes, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = (spoc(x), mac(x), self.gem(x))
        parts = [F.normalize(layer(p.to(x.dtype)).float(), dim=1) for layer, p in zip(self.layers, pooled, strict=True)]
        return torch.cat(parts, 1) / 3**0.5

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim) -> tuple[torch.Tensor, int]:
        ranking, mined = aim(self(x), labels)
        logits = self.classifier(self.norm(spoc(x).float()))
        return ranking + F.cross_entropy(logits / 0.5, labels, label_smoothing=0.1), mined


class Horde(Embedder):
    """High-order moments as a regulariser (Jacob et al., ICCV 2019): besides the first moment, moments 2 to `orders` of the
    feature map's cells are embedded and trained by the same loss; only the first is used afterwards.

    A moment of order k is approximated by random Maclaurin features: the mean over cells of ∘_{i ≤ k} (W_i f), with fixed
    random signs W_i (dims × C).
    """

    signs: torch.Tensor

    def __init__(self, features: int, hidden_dim: int, embedding_dim: int, orders: int = 4, dims: int = 512) -> None:
        super().__init__(features, hidden_dim, embedding_dim)
        signs = torch.randint(0, 2, (orders, dims, features)).float() * 2 - 1
        self.register_buffer("signs", signs / features**0.5)
        self.high = nn.ModuleList(nn.Linear(dims, embedding_dim) for _ in range(orders - 1))

    def moments(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Approximate moments 2 to `orders`, (B, dims) each."""
        cells = x.float().flatten(2)  # (B, C, n)
        product = self.signs[0] @ cells
        found = []
        for sign in self.signs[1:]:
            product = product * (sign @ cells)
            found.append(product.mean(2))
        return found

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim) -> tuple[torch.Tensor, int]:
        total, mined = aim(self(x), labels)
        for layer, moment in zip(self.high, self.moments(x), strict=True):
            total = total + aim(F.normalize(layer(F.normalize(moment, dim=1)), dim=1), labels)[0]
        return total / (1 + len(self.high)), mined


class DivideAndConquer(Embedder):
    """Divide and conquer of the embedding space (Sanakoyeu et al., CVPR 2019): the images are clustered, the dimensions are
    split into as many learners, and a batch, drawn from one cluster, trains that cluster's learner alone.

    Training sets `learner` before each batch; None trains all dimensions at once, as the paper does at the end.
    """

    def __init__(self, features: int, hidden_dim: int, embedding_dim: int, learners: int = 4) -> None:
        super().__init__(features, hidden_dim, embedding_dim)
        self.learners = learners
        self.learner: int | None = None

    def slice(self, learner: int) -> slice:
        """The dimensions of a learner."""
        edges = [round(i * self.out.out_features / self.learners) for i in range(self.learners + 1)]
        return slice(edges[learner], edges[learner + 1])

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim) -> tuple[torch.Tensor, int]:
        if self.learner is None:
            return super().loss(x, labels, aim)
        part = self.embed(spoc(x)).float()[:, self.slice(self.learner)]
        return aim(F.normalize(part, dim=1), labels)


def new_embedder(name: str, features: int, hidden_dim: int, embedding_dim: int, classes: int) -> Embedder:
    """An embedder by name."""
    assert name in EMBEDDERS
    if name == "global_descriptors":
        return GlobalDescriptors(features, hidden_dim, embedding_dim, classes)
    kinds: dict[str, type[Embedder]] = {
        "plain": Embedder,
        "batch_drop_block": BatchDropBlock,
        "horde": Horde,
        "divide_conquer": DivideAndConquer,
    }
    return kinds[name](features, hidden_dim, embedding_dim)
