"""Other methods that remove a bias: one network on the whole image, trained with cross-entropy, as these methods are
defined."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from benchmarks.biased import Planted
from heml.learning.augment import augment, may_flip
from heml.learning.inference import embed
from heml.learning.inputs import NodeImages, compose, prepare
from heml.learning.networks import new_network
from heml.learning.optimisation import new_optimizer, new_schedule
from heml.params import Train
from heml.tree import Tree


@dataclass(frozen=True)
class Recipe:
    """How one network on the whole image is trained: with cross-entropy, as these methods are defined."""

    balanced: bool = False
    """Batches hold every group and label as often (given groups)."""
    dro: float = 0.0
    """Step of the groups' weights (Group DRO; Sagawa et al., ICLR 2020)."""
    upweight: float = 0.0
    """Times that images count which a first network of a fifth of the epochs got wrong (JTT; Liu et al., ICML 2021)."""
    last: bool = False
    """The last layers fitted again on balanced val (DFR; Kirichenko et al., ICLR 2023)."""
    cutout: bool = False
    """The part masked out, in training and after."""
    cutmix: bool = False
    """Rectangles of other images, labels mixed (Yun et al., ICCV 2019)."""


NETWORKS = {
    "network": Recipe(),
    "network, group-balanced": Recipe(balanced=True),
    "network, Group DRO": Recipe(dro=0.01),
    "network, DFR": Recipe(last=True),
    "network, JTT": Recipe(upweight=5.0),
    "network, part cut out": Recipe(cutout=True),
    "network, CutMix": Recipe(cutmix=True),
}


def networks(planted: Planted, seed: int, epochs: int) -> Iterator[tuple[str, torch.Tensor, float, int]]:
    """One network under every recipe: its name, embeddings of all images (N, D), CPU seconds of training, images
    annotated with groups."""
    tree = Tree.from_params(planted.params)
    for name, recipe in NETWORKS.items():
        kept = [leaf for leaf in tree.leaves() if not (recipe.cutout and leaf in planted.parts)]
        images = compose(kept, planted.run)
        started = time.process_time()
        network = Classifier(planted.params.train, images, seed)
        network.fit(images, planted.cells, recipe, epochs)
        seconds = time.process_time() - started
        rows = np.flatnonzero(images.present)
        vectors = torch.full((len(images.present), planted.params.train.embedding_dim), torch.nan)
        vectors[torch.from_numpy(rows)] = embed(network.network, images, rows, torch.device("cpu"))
        asked = "val" if recipe.last else "train" if recipe.balanced or recipe.dro else ""
        yield name, vectors, seconds, len(images.rows(asked)) if asked else 0


class Classifier:
    """A metric network with a linear layer on its embedding."""

    def __init__(self, settings: Train, images: NodeImages, seed: int) -> None:
        self.settings = settings.model_copy(update={"seed": seed})
        self.network = new_network(self.settings, images.classes, images.size)
        self.head = nn.Linear(settings.embedding_dim, images.classes)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) → (B, C); embeddings have length 1, so they are scaled."""
        scores: torch.Tensor = self.head(16 * self.network(x))
        return scores

    def fit(self, images: NodeImages, cells: NDArray[np.int64], recipe: Recipe, epochs: int) -> None:
        """Train on `train`, then, for DFR, the last layers on `val`."""
        rows, counts = images.rows("train"), np.ones(len(images.present))
        if recipe.upweight:
            self.epochs(images, rows, counts, cells, Recipe(), max(epochs // 5, 1))
            counts[rows[self.predict(images, rows) != images.labels[rows]]] = recipe.upweight
            self.__init__(self.settings, images, self.settings.seed)  # type: ignore[misc]
        if recipe.balanced:
            counts = self.even(rows, cells)
        self.epochs(images, rows, counts, cells, recipe, epochs)
        if recipe.last:
            held = images.rows("val")
            self.network.trunk.requires_grad_(False)
            self.epochs(images, held, self.even(held, cells), cells, recipe, epochs, still=True)

    @staticmethod
    def even(rows: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """How often each image is drawn, so that every cell is as often as another."""
        found = np.zeros(len(cells))
        values, place, number = np.unique(cells[rows], return_inverse=True, return_counts=True)
        found[rows] = len(rows) / (len(values) * number[place])
        return found

    @torch.inference_mode()
    def predict(self, images: NodeImages, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Labels of some rows."""
        self.network.eval()
        parts = [self.logits(prepare(*images.batch(rows[i : i + 128]))).argmax(1) for i in range(0, len(rows), 128)]
        return torch.cat(parts).numpy()

    def epochs(
        self,
        images: NodeImages,
        rows: NDArray[np.int64],
        counts: NDArray[np.float64],
        cells: NDArray[np.int64],
        recipe: Recipe,
        epochs: int,
        still: bool = False,
    ) -> None:
        """Epochs of batches drawn by `counts`; `still`: the trunk and its statistics stay as they are."""
        s = self.settings
        steps = max(len(rows) // s.batch_size, 1)
        optimizer = new_optimizer(self.network, [(list(self.head.parameters()), s.lr)], s)
        schedule = new_schedule(optimizer, s, steps, epochs)
        rng, generator = np.random.default_rng(s.seed), torch.Generator().manual_seed(s.seed)
        weight = torch.ones(int(cells.max()) + 2)  # the last: images that do not show the part
        chance = counts[rows] / counts[rows].sum()
        self.network.train(not still)
        for _ in range(epochs * steps):
            chosen = (
                rng.choice(rows, s.batch_size, p=chance)
                if (counts[rows] != 1).any()
                else rng.choice(rows, s.batch_size, False)
            )
            x = augment(*images.batch(chosen), s, s.flip and may_flip(images.segments), generator)
            y = torch.from_numpy(images.labels[chosen])
            share, other = 1.0, torch.arange(len(y))
            if recipe.cutmix and rng.random() < 0.5:
                x, share, other = cutmix(x, rng)
            logits = self.logits(x)
            mixed = [functional.cross_entropy(logits, target, reduction="none") for target in (y, y[other])]
            loss = share * mixed[0] + (1 - share) * mixed[1]
            if recipe.dro:
                group = torch.from_numpy(cells[chosen])
                means = torch.zeros(len(weight))
                for g in group.unique().tolist():
                    means[g] = loss[group == g].mean()
                    weight[g] *= float((recipe.dro * means[g].detach()).exp())
                weight /= weight.sum()
                total = weight @ means
            else:
                total = loss.mean()
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            optimizer.step()
            schedule.step()
        self.network.eval()


def cutmix(x: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, float, torch.Tensor]:
    """A batch with a rectangle of another order of it: images, the share of their own that is left, the order."""
    order = torch.from_numpy(rng.permutation(len(x)))
    h, w = x.shape[2:]
    side = np.sqrt(1 - rng.random())
    top, left = (int(rng.integers(0, max(int(n * (1 - side)), 1))) for n in (h, w))
    high, wide = max(int(h * side), 1), max(int(w * side), 1)
    mixed = x.clone()
    mixed[:, :, top : top + high, left : left + wide] = x[order, :, top : top + high, left : left + wide]
    return mixed, 1 - high * wide / (h * w), order
