"""Divide and conquer of the embedding space (Sanakoyeu et al., CVPR 2019): which images train which learner, and when.

The training images are clustered by the trunk's pooled features, anew every few epochs, and each cluster belongs to a
learner, a slice of the embedding's dimensions. A batch is of one cluster and trains its learner alone; the last batches
of training are of all images and train all dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from heml.learning.embedders import DivideAndConquer
from heml.learning.inference import embed
from heml.learning.inputs import NodeImages
from heml.learning.networks import MetricNetwork
from heml.learning.sampling import pk_batches
from heml.params import Train


class Division:
    """The clusters of a network's training images, and the batches that they make."""

    def __init__(self, embedder: DivideAndConquer, settings: Train) -> None:
        """Args:
        embedder: is told before each batch which learner trains.
        """
        self.embedder, self.settings = embedder, settings
        self.together, self.every = settings.of_embedder["together"], int(settings.of_embedder["every"])
        self.clusters: NDArray[np.int64] | None = None
        """(N,), the learner of each training image; None before the first clustering."""

    def batches(
        self,
        network: MetricNetwork,
        images: NodeImages,
        rows: NDArray[np.int64],
        epoch: int,
        seed: int,
        device: torch.device,
    ) -> Iterator[NDArray[np.int64]]:
        """One epoch of P×K batches, positions into `rows`, as many as without a division.

        Args:
            epoch: counted from 1.
        """
        labels, settings = images.labels[rows], self.settings
        steps = max(len(rows) // settings.batch_size, 1)
        before = settings.epochs * (1 - self.together) - (epoch - 1)  # epochs from here on that train learners apart
        apart = round(steps * min(max(before, 0.0), 1.0))
        if apart and (self.clusters is None or (epoch - 1) % self.every == 0):
            self.divide(pooled(network, images, rows, device))
        drawn = 0
        if apart and self.clusters is not None:
            for learner, batch in islice(
                cluster_batches(labels, self.clusters, settings.batch_size, settings.per_class, seed), apart
            ):
                self.embedder.learner = learner
                drawn += 1
                yield batch
        self.embedder.learner = None
        yield from islice(pk_batches(labels, settings.batch_size, settings.per_class, seed), steps - drawn)

    def divide(self, features: NDArray[np.float32]) -> None:
        """Cluster by k-means, the best of five starts; each cluster goes to the learner that had most of its images."""
        from sklearn.cluster import KMeans  # for this embedder alone

        learners = self.embedder.learners
        means = KMeans(learners, n_init=5, random_state=self.settings.seed)
        found: NDArray[np.int64] = means.fit_predict(features).astype(np.int64)
        self.clusters = found if self.clusters is None else matched(found, self.clusters, learners)


def new_division(network: MetricNetwork, settings: Train, images: int) -> Division | None:
    """Of a network whose embedder divides; None where it does not, or where `images` do not fill a batch per
    learner."""
    embedder = network.embedder
    if not isinstance(embedder, DivideAndConquer) or images < settings.batch_size * embedder.learners:
        return None
    return Division(embedder, settings)


def pooled(
    network: MetricNetwork, images: NodeImages, rows: NDArray[np.int64], device: torch.device
) -> NDArray[np.float32]:
    """The trunk's features, averaged over the map and of length 1, (len(rows), C): what is clustered, before any
    learner's weights."""
    training = network.training
    features = embed(nn.Sequential(network.trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten()), images, rows, device)
    network.train(training)
    found: NDArray[np.float32] = F.normalize(features, dim=1).numpy()
    return found


def matched(clusters: NDArray[np.int64], previous: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """`clusters` (N,) renumbered so that as many images as can be keep the number, below `number`, that they had in
    `previous` (N,).

    The Hungarian method (Kuhn 1955) on the numbers of images that two clusters share.
    """
    from scipy.optimize import linear_sum_assignment

    shared = np.zeros((number, number), np.int64)
    np.add.at(shared, (clusters, previous), 1)
    new, old = linear_sum_assignment(shared, maximize=True)
    numbers = np.empty(number, np.int64)
    numbers[new] = old
    return numbers[clusters]


def cluster_batches(
    labels: NDArray[np.int64], clusters: NDArray[np.int64], batch_size: int, per_class: int, seed: int
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """P×K batches of one cluster each, without end, clusters by turns: the cluster, and positions into `labels`.

    A cluster without two classes of two images has nothing to compare and no turn; if none has, there are no batches.
    """
    rng = np.random.default_rng(seed)
    members = {int(c): np.flatnonzero(clusters == c) for c in np.unique(clusters)}
    members = {
        c: rows for c, rows in members.items() if (np.unique(labels[rows], return_counts=True)[1] >= 2).sum() >= 2
    }
    epochs: dict[int, Iterator[NDArray[np.int64]]] = {c: iter(()) for c in members}
    while members:
        for c in rng.permutation(list(members)).tolist():
            batch = next(epochs[c], None)
            if batch is None:
                epochs[c] = pk_batches(labels[members[c]], batch_size, per_class, int(rng.integers(2**31)))
                batch = next(epochs[c])
            yield c, members[c][batch]
