"""Embedders: a trunk's feature map (B, C, h', w') to embeddings (B, D) of length 1, and what they add to the loss.

`plain` is the paper's; the others are the field's feature augmentations, by the names of `heml.params.EMBEDDERS`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

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
    """Batch feature erasing (Dai et al., ICCV 2019): a global branch sees the whole map, a dropping branch a map in
    which a band of a third of its rows, the same for the batch, is erased in training, max-pooled. Each has half of the
    dimensions and a loss of its own; the embedding is both, joined.
    """

    def __init__(self, features: int, hidden_dim: int, embedding_dim: int) -> None:
        super().__init__(features, hidden_dim, embedding_dim - embedding_dim // 2)
        self.erased = Embedder(features, hidden_dim, embedding_dim // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.branches(x), 1) / 2**0.5

    def branches(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The global and the dropping branch, (B, D/2) each, rows of length 1."""
        whole = self.embed(spoc(x)).float()  # (B, ⌈D/2⌉)
        part = self.erased.embed(mac(self.erase(x))).float()  # (B, ⌊D/2⌋)
        return F.normalize(whole, dim=1), F.normalize(part, dim=1)

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim) -> tuple[torch.Tensor, int]:
        (whole, mined), (part, more) = (aim(branch, labels) for branch in self.branches(x))
        return whole + part, max(mined, more)

    def erase(self, x: torch.Tensor) -> torch.Tensor:
        """The map with the band set to 0; the map itself in evaluation, or where it has a single row."""
        rows = x.shape[2]
        if not self.training or rows == 1:
            return x
        band = max(round(rows / 3), 1)
        top = int(torch.randint(rows - band + 1, ()))
        kept = torch.ones(rows, 1, dtype=x.dtype, device=x.device)  # (h', 1)
        kept[top : top + band] = 0
        return x * kept


class GlobalDescriptors(Embedder):
    """Combination of multiple global descriptors (Jun et al. 2019): SPoC, MAC and GeM, each through a layer of its own
    to a third of the dimensions and to length 1, joined; a classifier on the first adds cross-entropy (temperature 0.5,
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
        pooled = (spoc(x), mac(x), self.gem(x))  # (B, C) each
        parts = [F.normalize(layer(p.to(x.dtype)).float(), dim=1) for layer, p in zip(self.layers, pooled, strict=True)]
        return torch.cat(parts, 1) / 3**0.5

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim) -> tuple[torch.Tensor, int]:
        ranking, mined = aim(self(x), labels)
        logits = self.classifier(self.norm(spoc(x).float()))  # (B, classes)
        return ranking + F.cross_entropy(logits / 0.5, labels, label_smoothing=0.1), mined


@functools.cache
def maclaurin_signs(orders: int, dims: int, features: int, device: torch.device) -> torch.Tensor:
    """Random signs over √features, (orders, dims, features): the same in every network, so that networks can be
    averaged, and made where a network trains, neither stored nor copied with it.
    """
    signs = torch.randint(0, 2, (orders, dims, features), generator=torch.Generator().manual_seed(0)) * 2 - 1
    scaled: torch.Tensor = signs / features**0.5
    return scaled.to(device)


class Horde(Embedder):
    """High-order moments as a regulariser (Jacob et al., ICCV 2019): besides the first moment, moments 2 to `orders` of
    the feature map's cells are embedded and trained by the same loss, and the losses added; only the first is used
    afterwards.

    A moment of order k is approximated by random Maclaurin features (Kar & Karnick, AISTATS 2012): the mean over cells
    of ∘_{i ≤ k} (W_i f), with fixed random signs W_i (dims × C). The products of two images' features then average to
    the mean of (f·g / C)^k over the pairs of their cells f and g, with a standard error that falls as 1 / √dims.

    Training holds two maps of `dims` channels for every order above the first: 8 · (orders − 1) · dims bytes per image
    and cell. With the defaults that is 0.13 GB for a batch of 32 maps of 4×4, 0.54 GB of 8×8 and 2.1 GB of 16×16: there
    fewer `dims` fit.
    """

    def __init__(self, features: int, hidden_dim: int, embedding_dim: int, orders: int, dims: int) -> None:
        super().__init__(features, hidden_dim, embedding_dim)
        self.dims = dims
        self.high = nn.ModuleList(nn.Linear(dims, embedding_dim, bias=False) for _ in range(orders - 1))

    def moments(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Approximate moments 2 to `orders`, (B, dims) each."""
        cells = x.float().flatten(2)  # (B, C, n)
        first, *others = maclaurin_signs(1 + len(self.high), self.dims, cells.shape[1], cells.device)
        product = first @ cells  # (B, dims, n)
        found = []
        for sign in others:
            product = product * (sign @ cells)
            found.append(product.mean(2))  # (B, dims)
        return found

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim) -> tuple[torch.Tensor, int]:
        total, mined = aim(self(x), labels)
        for layer, moment in zip(self.high, self.moments(x), strict=True):
            total = total + aim(F.normalize(layer(F.normalize(moment, dim=1)), dim=1), labels)[0]
        return total, mined


class DivideAndConquer(Embedder):
    """Divide and conquer of the embedding space (Sanakoyeu et al., CVPR 2019): the dimensions are split into learners,
    each of which has its slice brought to length 1, in training and afterwards, and learns from one cluster of the
    images.

    Training sets `learner` before each batch (`heml.learning.division`); None trains all dimensions at once.
    """

    def __init__(self, features: int, hidden_dim: int, embedding_dim: int, learners: int) -> None:
        super().__init__(features, hidden_dim, embedding_dim)
        self.learners = learners
        self.learner: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = torch.cat(self.slices(x), 1) / self.learners**0.5
        return joined

    def slices(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Every learner's dimensions, (B, about D / learners), rows of length 1."""
        return [F.normalize(part, dim=1) for part in self.embed(spoc(x)).float().tensor_split(self.learners, 1)]

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim) -> tuple[torch.Tensor, int]:
        return aim(self(x) if self.learner is None else self.slices(x)[self.learner], labels)


def new_embedder(
    name: str,
    features: int,
    hidden_dim: int,
    embedding_dim: int,
    classes: int,
    options: Mapping[str, float] | None = None,
) -> Embedder:
    """An embedder by name.

    Args:
        options: those of `heml.params.EMBEDDERS` that have not their default.
    """
    given = EMBEDDERS[name] | dict(options or {})
    shape = (features, hidden_dim, embedding_dim)
    if name == "batch_drop_block":
        return BatchDropBlock(*shape)
    if name == "horde":
        return Horde(*shape, int(given["orders"]), int(given["dims"]))
    if name == "global_descriptors":
        return GlobalDescriptors(*shape, classes)
    if name == "divide_conquer":
        return DivideAndConquer(*shape, int(given["learners"]))
    return Embedder(*shape)
