"""Train one node: P×K batches, mined triplets, the best epoch by P@1 on `val` with neighbours searched in `train`."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_metric_learning.samplers import MPerClassSampler
from sklearn.cluster import KMeans
from torch.optim.swa_utils import AveragedModel

from heml.distances import Metric, nearest
from heml.errors import HemlError
from heml.learning.augment import augment, may_flip
from heml.learning.averaging import State, reestimate_batchnorm
from heml.learning.embedders import DivideAndConquer
from heml.learning.embedding import embed
from heml.learning.inputs import NodeImages, prepared_batches
from heml.learning.networks import MetricNetwork
from heml.learning.objectives import Objective, objective
from heml.learning.optimisation import new_optimizer, new_schedule
from heml.params import Train
from heml.progress import progress


@dataclass
class Training:
    """What came of training a node."""

    state: State
    """Weights of the best epoch."""
    val_p1: float
    """Of that epoch; NaN where `val` has no image with the node."""
    distance: Metric
    best_epoch: int = 0
    """Of the chosen weights; one more than the last where stochastic weight averaging was chosen."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Per epoch, 0 being the start: loss, val_p1, triplets mined per batch, seconds."""
    note: str = ""
    """Why the node was not trained, or what went wrong in training."""
    images_per_second: float = 0.0
    """Training steps alone, without validation."""

    def consider(self, network: MetricNetwork, score: float, epoch: int) -> None:
        """Keep the network's weights if they do at least as well on `val`: of equals the later, which has seen more."""
        if score >= self.val_p1 or np.isnan(score):
            self.val_p1, self.best_epoch, self.state = score, epoch, copy.deepcopy(network.state_dict())


def pk_batches(labels: NDArray[np.int64], batch_size: int, per_class: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """One epoch of P×K batches: positions into `labels`.

    K is `per_class`, or more where there are too few classes to fill the batch. A class with fewer than K images gives
    some of them more than once. The epoch has as many batches as fit the images, at least one.
    """
    classes = len(np.unique(labels))
    k = max(per_class, -(-batch_size // classes))
    length = max(len(labels) // batch_size, 1) * batch_size
    np.random.seed(seed)  # noqa: NPY002 (the sampler draws from NumPy's global state)
    sampler = MPerClassSampler(labels, k, batch_size=None, length_before_new_iter=max(length, k * classes))
    order = np.fromiter(sampler, dtype=np.int64)[:length]
    return iter(order.reshape(-1, batch_size)) if len(order) == length else iter([order])


def precision_at_1(network: MetricNetwork, images: NodeImages, distance: Metric, device: torch.device, split: str = "val") -> float:
    """Share of a split's images whose nearest training image has their label; NaN without such images."""
    queries, references = images.rows(split), images.rows("train")
    if not len(queries):
        return float("nan")
    found = nearest(embed(network, images, queries, device), embed(network, images, references, device), 1, distance)[1]
    return float((images.labels[references[found[:, 0].numpy()]] == images.labels[queries]).mean())


def untrainable(images: NodeImages) -> str:
    """Why a node cannot be trained, or nothing: triplets need two classes with two images each."""
    rows = images.rows("train")
    values, counts = np.unique(images.labels[rows], return_counts=True)
    usable = values[counts >= 2]
    if len(usable) >= 2:
        return ""
    return f"present in {len(rows)} training images, of which no two classes have two: kept at its start"


def train_node(
    name: str, network: MetricNetwork, images: NodeImages, settings: Train, device: torch.device, aim: Objective | None = None
) -> Training:
    """Train `network` in place on the images in which the node is present.

    Args:
        aim: what to train for instead of the settings' loss.

    Raises:
        HemlError: the loss is not finite, or its settings do not go together.
    """
    aim = aim or objective(settings, images.classes)
    aim.loss.to(device)
    network.to(device)
    start = precision_at_1(network, images, aim.distance, device)
    result = Training(copy.deepcopy(network.state_dict()), start, aim.distance, 0, [{"epoch": 0, "val_p1": start}])
    result.note = untrainable(images)
    if result.note or not settings.epochs:
        return result

    rows = images.rows("train")
    steps = max(len(rows) // settings.batch_size, 1)
    half = settings.precision == "bfloat16" and device.type == "cuda"
    optimizer = new_optimizer(network, aim.parameters(), settings)
    schedule = new_schedule(optimizer, settings, steps, settings.epochs)
    flip = settings.flip and may_flip(images.segments)
    averaged = AveragedModel(network) if settings.swa else None
    result.val_p1 = -1.0
    seen, spent = 0, 0.0
    for epoch in progress(range(1, settings.epochs + 1), f"train {name}", unit="epoch"):
        began = time.perf_counter()
        seed = settings.seed * 100_003 + epoch
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        clusters = _clusters(network, images, rows, epoch, settings, device)
        network.train()
        losses, mined = [], []
        for chosen in _batches(images.labels[rows], clusters, settings, seed):
            if isinstance(network.embedder, DivideAndConquer):
                network.embedder.learner = None if clusters is None else int(clusters[chosen[0]])
            pixels, masks = images.batch(rows[chosen])
            x = augment(pixels.to(device), masks.to(device), settings, flip, generator)
            y = torch.from_numpy(images.labels[rows[chosen]]).to(device)
            loss, triplets = network.loss(x, y, aim, half)
            if not torch.isfinite(loss):
                raise HemlError(f"node {name!r}: the loss is {loss.item()} in epoch {epoch}; lower lr ({settings.lr:g})")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if settings.clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            mined.append(triplets)
            seen += len(chosen)
        spent += time.perf_counter() - began
        if averaged and epoch > settings.epochs * (1 - settings.swa):
            averaged.update_parameters(network)
        score = precision_at_1(network, images, aim.distance, device)
        result.history.append(
            {
                "epoch": epoch,
                "loss": float(np.mean(losses)),
                "val_p1": score,
                "triplets": float(np.mean(mined)),
                "seconds": time.perf_counter() - began,
            }
        )
        if not any(mined):
            result.note = f"epoch {epoch}: no triplet was mined, since {_why_none(network, images, rows, device)}"
        result.consider(network, score, epoch)
        if settings.patience and epoch - result.best_epoch >= settings.patience:
            break
    if averaged and averaged.n_averaged > 0:
        network.load_state_dict(averaged.module.state_dict())
        reestimate_batchnorm(network, prepared_batches(images, rows, device))
        result.consider(network, precision_at_1(network, images, aim.distance, device), epoch + 1)
    result.images_per_second = seen / spent
    network.load_state_dict(result.state)
    return result


def _batches(labels: NDArray[np.int64], clusters: NDArray[np.int64] | None, settings: Train, seed: int) -> Iterator[NDArray[np.int64]]:
    """One epoch of batches: of all images, or each of one cluster, as many batches as its images fill."""
    if clusters is None:
        yield from pk_batches(labels, settings.batch_size, settings.per_class, seed)
        return
    batches = []
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        counts = np.unique(labels[members], return_counts=True)[1]
        if len(members) >= settings.batch_size and (counts >= 2).sum() >= 2:
            batches += [members[b] for b in pk_batches(labels[members], settings.batch_size, settings.per_class, seed + int(cluster))]
    order = np.random.default_rng(seed).permutation(len(batches))
    yield from (batches[i] for i in order)


def _clusters(
    network: MetricNetwork, images: NodeImages, rows: NDArray[np.int64], epoch: int, settings: Train, device: torch.device
) -> NDArray[np.int64] | None:
    """Each training image's cluster, for embedders that divide and conquer; None in the last quarter of the epochs, when all
    dimensions train together, or where the images do not fill a batch per cluster."""
    embedder = network.embedder
    if not isinstance(embedder, DivideAndConquer) or epoch > settings.epochs * 0.75 or len(rows) < settings.batch_size * embedder.learners:
        return None
    embedded = embed(network, images, rows, device).numpy()
    found: NDArray[np.int64] = KMeans(embedder.learners, n_init=1, random_state=settings.seed).fit_predict(embedded).astype(np.int64)
    return found


def _why_none(network: MetricNetwork, images: NodeImages, rows: NDArray[np.int64], device: torch.device) -> str:
    """Whether all embeddings have become one, or all triplets are satisfied."""
    spread = embed(network, images, rows[:256], device).std(0).norm()
    return "all embeddings are alike (collapse): lower lr" if spread < 1e-2 else "all satisfy the margin: it could be larger"
