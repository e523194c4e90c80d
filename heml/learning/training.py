"""Train one node: P×K batches, mined triplets, the best epoch by P@1 on `val`, searched in `train` or, where labels are
new, in `val`."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from heml.distances import Metric, nearest
from heml.errors import HemlError
from heml.imports import no_compiler
from heml.learning.augment import augment, may_flip
from heml.learning.averaging import State, reestimate_batchnorm
from heml.learning.division import Division, new_division
from heml.learning.inference import embed
from heml.learning.inputs import NodeImages, prepared_batches
from heml.learning.live import Watch
from heml.learning.networks import MetricNetwork
from heml.learning.objectives import Objective, objective
from heml.learning.optimisation import new_optimizer, new_schedule
from heml.learning.sampling import pk_batches
from heml.machine import best_device
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
    """Per epoch, 0 being the start: loss, triplets mined per batch, seconds, cpu_seconds, and val_p1, NaN where it was
    not measured."""
    note: str = ""
    """Why the node was not trained, or what went wrong in training."""
    images_per_second: float = 0.0
    """Training steps alone, without validation."""

    @property
    def known_p1(self) -> float:
        """`val_p1` as a header has it: 0 where it was not measured."""
        return 0.0 if np.isnan(self.val_p1) else self.val_p1

    def consider(self, network: MetricNetwork, score: float, epoch: int) -> None:
        """Keep the network's weights if they do at least as well on `val`: of equals the later, which has seen more."""
        if score >= self.val_p1 or np.isnan(score):
            self.val_p1, self.best_epoch, self.state = score, epoch, copy.deepcopy(network.state_dict())


def reproducible(settings: Train) -> torch.device:
    """Let this process train in the same bits each time, with the settings' threads; returns where networks compute."""
    torch.set_num_threads(settings.threads)
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, which imports the compiler
    return best_device()


def precision_at_1(
    network: MetricNetwork, images: NodeImages, distance: Metric, device: torch.device, split: str = "val"
) -> float:
    """Share of a split's images whose nearest training image has their label; NaN without such images.

    Where training has none of the split's labels (`dataset.split_by: label`), neighbours are searched within the split.
    """
    queries, references = images.rows(split), images.rows("train")
    own = None
    if not np.isin(images.labels[queries], images.labels[references]).any():
        references, own = queries, torch.arange(len(queries))
    if len(queries) < (1 if own is None else 2):
        return float("nan")
    found = nearest(
        embed(network, images, queries, device), embed(network, images, references, device), 1, distance, own
    )[1]
    return float((images.labels[references[found[:, 0].numpy()]] == images.labels[queries]).mean())


def untrainable(images: NodeImages) -> str:
    """Why a node cannot be trained, or nothing: triplets need two classes with two images each."""
    rows = images.rows("train")
    values, counts = np.unique(images.labels[rows], return_counts=True)
    usable = values[counts >= 2]
    if len(usable) >= 2:
        return ""
    return f"present in {len(rows)} training images, of which no two classes have two: kept at its start"


@dataclass(frozen=True)
class _Task:
    """What is trained, on what, and for what."""

    name: str
    network: MetricNetwork
    images: NodeImages
    settings: Train
    device: torch.device
    aim: Objective

    @property
    def rows(self) -> NDArray[np.int64]:
        """Training images that show the node."""
        return self.images.rows("train")

    def validate(self) -> float:
        """P@1 on `val`; NaN where it is not to be measured."""
        if not self.settings.validate_every:
            return float("nan")
        return precision_at_1(self.network, self.images, self.aim.distance, self.device)


@dataclass(frozen=True)
class _Steps:
    """What moves the weights."""

    optimizer: Optimizer
    schedule: LRScheduler
    division: Division | None


def train_node(
    name: str,
    network: MetricNetwork,
    images: NodeImages,
    settings: Train,
    device: torch.device,
    aim: Objective | None = None,
    watch: Watch | None = None,
) -> Training:
    """Train `network` in place on the images in which the node is present.

    Args:
        aim: what to train for instead of the settings' loss.
        watch: is told of every epoch.

    Raises:
        HemlError: the loss is not finite, or its settings do not go together.
    """
    aim = aim or objective(settings, images.classes)
    aim.loss.to(device)
    network.to(device)
    images = images.on(device)
    note = untrainable(images)
    trains = not note and settings.epochs > 0
    # The start is one of the epochs to choose from, but costs a pass over train: left out where passes are saved.
    start = (
        precision_at_1(network, images, aim.distance, device)
        if settings.validate_every == 1 or not trains
        else float("nan")
    )
    result = Training(
        copy.deepcopy(network.state_dict()), start, aim.distance, 0, [{"epoch": 0, "val_p1": start}], note
    )
    if trains:
        with no_compiler():
            _train(_Task(name, network, images, settings, device, aim), result, watch)
    return result


def _train(task: _Task, result: Training, watch: Watch | None) -> None:
    """All epochs; what came of them goes into `result`, and the best weights into the network."""
    network, settings, rows = task.network, task.settings, task.rows
    optimizer = new_optimizer(network, [(task.aim.parameters(), settings.loss_lr), *network.at_own_rate()], settings)
    per_epoch = max(len(rows) // settings.batch_size, 1)
    schedule = new_schedule(optimizer, settings, per_epoch, settings.epochs)
    steps = _Steps(optimizer, schedule, new_division(network, settings, len(rows)))
    averaged = AveragedModel(network) if settings.swa else None
    result.val_p1 = -1.0  # the first epoch that is measured is kept, even if it is worse than the start
    seen, spent = 0, 0.0
    for epoch in progress(range(1, settings.epochs + 1), f"train {task.name}", unit="epoch"):
        began, cpu = time.perf_counter(), time.process_time()
        row = {"epoch": epoch} | _epoch(task, epoch, steps)
        seen += row.pop("seen")
        spent += time.perf_counter() - began  # without validation: images/s is of training
        if averaged and epoch > settings.epochs * (1 - settings.swa):
            averaged.update_parameters(network)
        every = settings.validate_every or settings.epochs  # 0: the last epoch is kept as it is
        row["val_p1"] = float("nan")
        if (settings.epochs - epoch) % every == 0:
            row["val_p1"] = task.validate()
            result.consider(network, row["val_p1"], epoch)
        result.history.append(row | {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu})
        if watch:
            watch(result.history)
        if not row["triplets"]:
            result.note = f"epoch {epoch}: no triplet was mined, since {_why_none(task)}"
        if settings.patience and epoch - result.best_epoch >= settings.patience:
            break
    # Averaged weights have seen no batch: their BatchNorm statistics are those of no network until taken anew.
    if averaged and averaged.n_averaged > 0:
        network.load_state_dict(averaged.module.state_dict())
        reestimate_batchnorm(network, prepared_batches(task.images, rows, task.device))
        result.consider(network, task.validate(), epoch + 1)
    result.images_per_second = seen / spent
    network.load_state_dict(result.state)


def _epoch(task: _Task, epoch: int, steps: _Steps) -> dict[str, Any]:
    """Train one epoch; its mean loss, the triplets mined per batch and the images seen.

    The loss is read once, at the end: to read it in every step would make a GPU wait for the CPU each time.
    """
    network, images, settings, device, rows = task.network, task.images, task.settings, task.device, task.rows
    # Of the epoch, not of the run so far: an epoch draws the same whatever was drawn, or measured, before it.
    seed = settings.seed * 100_003 + epoch
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    half = settings.precision == "bfloat16" and device.type == "cuda"
    flip = settings.flip and may_flip(images.segments)
    network.train()
    losses, mined, seen = [], [], 0
    if steps.division:
        batches = steps.division.batches(network, images, rows, epoch, seed, device)
    else:
        batches = pk_batches(images.labels[rows], settings.batch_size, settings.per_class, seed)
    for chosen in batches:
        pixels, masks = images.training_batch(rows[chosen], rng)  # (B, 3, h, w), (B, 1, h, w)
        x = augment(pixels.to(device), masks.to(device), settings, flip, generator)
        y = torch.from_numpy(images.labels[rows[chosen]]).to(device)  # (B,)
        loss, triplets = network.loss(x, y, task.aim, half)
        steps.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        steps.optimizer.step()
        steps.schedule.step()
        losses.append(loss.detach())
        mined.append(triplets)
        seen += len(chosen)
    found = torch.stack(losses).double().cpu()
    if not found.isfinite().all():
        raise HemlError(
            f"training {task.name!r}: the loss is {found[~found.isfinite()][0].item()} in epoch {epoch}; lower lr"
            f" ({settings.lr:g})"
        )
    return {"loss": float(found.mean()), "triplets": float(np.mean(mined)), "seen": seen}


def _why_none(task: _Task) -> str:
    """Whether all embeddings have become one, or all triplets are satisfied."""
    spread = embed(task.network, task.images, task.rows[:256], task.device).std(0).norm()
    return (
        "all embeddings are alike (collapse): lower lr"
        if spread < 1e-2
        else "all satisfy the margin: it could be larger"
    )
