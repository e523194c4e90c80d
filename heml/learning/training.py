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

from heml.distances import Distance, nearest
from heml.errors import HemlError
from heml.learning.averaging import State
from heml.learning.embedding import embed
from heml.learning.inputs import NodeImages, augment, prepare
from heml.learning.losses import objective
from heml.learning.networks import MetricNetwork
from heml.params import Train
from heml.progress import progress


@dataclass
class Training:
    """What came of training a node."""

    state: State
    """Weights of the best epoch."""
    val_p1: float
    """Of that epoch; NaN where `val` has no image with the node."""
    distance: Distance
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    """Per epoch, 0 being the start: loss, val_p1, triplets mined per batch, seconds."""
    note: str = ""
    """Why the node was not trained, if so."""
    images_per_second: float = 0.0
    """Training steps alone, without validation."""


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


def precision_at_1(network: MetricNetwork, images: NodeImages, distance: Distance, device: torch.device, split: str = "val") -> float:
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


def train_node(name: str, network: MetricNetwork, images: NodeImages, settings: Train, device: torch.device) -> Training:
    """Train `network` in place on the images in which the node is present.

    Raises:
        HemlError: the loss is not finite.
    """
    aim = objective(settings)
    network.to(device)
    start = precision_at_1(network, images, aim.distance, device)
    result = Training(copy.deepcopy(network.state_dict()), start, aim.distance, 0, [{"epoch": 0, "val_p1": start}])
    result.note = untrainable(images)
    if result.note or not settings.epochs:
        return result

    rows = images.rows("train")
    labels = images.labels[rows]
    half = settings.precision == "bfloat16" and device.type == "cuda"
    steps = max(len(rows) // settings.batch_size, 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    schedule = None
    if settings.schedule == "one_cycle":
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps * settings.epochs)
    best = -1.0
    seen, spent = 0, 0.0
    for epoch in progress(range(1, settings.epochs + 1), f"train {name}", unit="epoch"):
        began = time.perf_counter()
        seed = settings.seed * 100_003 + epoch
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        network.train()
        losses, mined = [], []
        for chosen in pk_batches(labels, settings.batch_size, settings.per_class, seed):
            pixels, masks = images.batch(rows[chosen])
            x = augment(prepare(pixels.to(device), masks.to(device)), settings.flip, settings.shift, generator)
            y = torch.from_numpy(labels[chosen]).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                embeddings = network(x)
            loss, triplets = aim(embeddings, y)
            if not torch.isfinite(loss):
                raise HemlError(f"node {name!r}: the loss is {loss.item()} in epoch {epoch}; lower lr ({settings.lr:g})")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if schedule:
                schedule.step()
            losses.append(loss.item())
            mined.append(triplets)
            seen += len(chosen)
        spent += time.perf_counter() - began
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
        if score >= best or np.isnan(score):  # of equals the later, which has seen more
            best, result.best_epoch, result.val_p1 = score, epoch, score
            result.state = copy.deepcopy(network.state_dict())
    result.images_per_second = seen / spent
    network.load_state_dict(result.state)
    return result
