"""Teacher to student: a small network learns its own loss, and beside it a trained node's metric.

Yu et al., "Learning Metrics from Teachers", CVPR 2019; the relative term is also the distance-wise one of Park et al.,
"Relational Knowledge Distillation", CVPR 2019, without its division by the mean distance.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from heml.distances import Distance, nearest
from heml.errors import HemlError
from heml.imports import no_compiler
from heml.json_file import write_json
from heml.learning.augment import augment, may_flip
from heml.learning.checkpoints import load_network, save_node
from heml.learning.inference import embed
from heml.learning.inputs import NodeImages, compose
from heml.learning.networks import Architecture, MetricNetwork
from heml.learning.objectives import objective
from heml.learning.optimisation import new_optimizer, new_schedule
from heml.learning.sampling import pk_batches
from heml.learning.training import precision_at_1
from heml.machine import best_device
from heml.params import Student, Train
from heml.progress import progress
from heml.run import Run
from heml.sealed import fingerprint


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor, absolute: float, relative: float) -> torch.Tensor:
    """How far a student's embeddings are from its teacher's, (B, D) each, of length 1.

    `absolute` weighs the mean Euclidean distance between the two embeddings of an image, `relative` the mean absolute
    difference between the two Euclidean distances of a pair of images; neither is squared.
    """
    loss: torch.Tensor = absolute * (student - teacher).norm(dim=1).mean()
    return loss + relative * (F.pdist(student) - F.pdist(teacher)).abs().mean()


def build_student(name: str, settings: Student, train: Train, run: Run) -> dict[str, Any]:
    """Train a student of a node and write its weights and its report; returns the report.

    It sees the teacher's segments in the teacher's box, augmented as `train` says; its own loss, batches, optimiser,
    schedule and seed are `train`'s too.

    Raises:
        HemlError: the teacher is missing, the loss is not finite, or its settings do not go together.
    """
    device = best_device()
    torch.set_num_threads(train.threads)
    torch.set_deterministic_debug_mode("warn")
    header, teacher = load_network(run.node(settings.teacher), device)
    images = compose(header.leaves, run, header.box).on(device)
    torch.manual_seed(train.seed)
    shape = Architecture(
        settings.trunk, "plain", settings.hidden_dim, header.architecture.embedding_dim, images.classes
    )
    student = MetricNetwork(shape, images.size).to(device)
    began = time.perf_counter()
    with no_compiler():
        history = _distil(name, student, teacher, images, settings, train, header.distance, device)
    seconds = time.perf_counter() - began

    best = max(history, key=lambda row: (row["val_p1"], row["epoch"]))
    lineage = {f"node={header.node}": fingerprint(run.node(header.node))}
    kept = replace(
        header,
        node=name,
        children=[],
        architecture=shape,
        weights=None,
        seed=train.seed,
        val_p1=[best["val_p1"]],
        lineage=lineage,
    )
    save_node(run.student(name), kept, [student.state_dict()], train.stored)
    report = {
        "student": name,
        "teacher": header.node,
        "best_epoch": best["epoch"],
        "history": history,
        "seconds": seconds,
        "networks": {
            who: _measure(network, path, images, header.distance, device)
            for who, network, path in (
                ("teacher", teacher, run.node(header.node)),
                ("student", student, run.student(name)),
            )
        },
    }
    return write_json(run.student_report(name), report)


def _distil(
    name: str,
    student: MetricNetwork,
    teacher: MetricNetwork,
    images: NodeImages,
    settings: Student,
    train: Train,
    distance: Distance,
    device: torch.device,
) -> list[dict[str, float]]:
    """Train `student` in place to its best epoch by P@1 on `val`; teacher and student see the same augmented images."""
    rows = images.rows("train")
    schedule_settings = train.model_copy(update={"lr": settings.lr, "epochs": settings.epochs})
    steps = max(len(rows) // train.batch_size, 1)
    aim = objective(train.model_copy(update={"embedding_dim": student.embedder.out.out_features}), images.classes)
    aim.loss.to(device)
    optimizer = new_optimizer(student, [(aim.parameters(), train.loss_lr)], schedule_settings)
    schedule = new_schedule(optimizer, schedule_settings, steps, settings.epochs)
    flip = train.flip and may_flip(images.segments)
    teacher.eval()  # its BatchNorm keeps its statistics, whatever the student's batches hold
    best, best_score, history = copy.deepcopy(student.state_dict()), -1.0, []
    for epoch in progress(range(1, settings.epochs + 1), f"student {name}", unit="epoch"):
        seed = train.seed * 100_003 + epoch
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        student.train()
        losses = []
        for chosen in pk_batches(images.labels[rows], train.batch_size, train.per_class, seed):
            pixels, masks = images.batch(rows[chosen])  # (B, 3, h, w), (B, 1, h, w)
            x = augment(pixels.to(device), masks.to(device), train, flip, generator)
            with torch.inference_mode():
                target = teacher(x)  # (B, D)
            embedded = student(x)  # (B, D)
            loss = aim(embedded, torch.from_numpy(images.labels[rows[chosen]]).to(device))[0]
            loss = loss + distillation_loss(embedded, target.clone(), settings.absolute, settings.relative)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        found = torch.stack(losses).double().cpu()
        if not found.isfinite().all():
            raise HemlError(
                f"student {name!r}: the loss is not finite in epoch {epoch}; lower its lr ({settings.lr:g})"
            )
        score = precision_at_1(student, images, distance, device)
        history.append({"epoch": epoch, "loss": float(found.mean()), "val_p1": score})
        if score >= best_score:
            best, best_score = copy.deepcopy(student.state_dict()), score
    student.load_state_dict(best)
    return history


def _measure(
    network: MetricNetwork, path: Path, images: NodeImages, distance: Distance, device: torch.device
) -> dict[str, float]:
    """Size, speed and precision of one network: parameters, bytes, images/s of embedding, P@1 and P@8 on `test`.

    Neighbours are sought in `train`, or, where that has none of the labels, among the other test images.
    """
    asked, held = images.rows("test"), images.rows("train")
    references = embed(network, images, held, device)
    began = time.perf_counter()
    queries = embed(network, images, np.concatenate([asked, held]), device)[: len(asked)]
    seconds = time.perf_counter() - began
    own = None
    if not np.isin(images.labels[asked], images.labels[held]).any():
        held, references, own = asked, queries, torch.arange(len(asked))
    found = nearest(queries, references, 8, distance, own)[1].numpy()
    hits: NDArray[np.bool_] = images.labels[held][found] == images.labels[asked][:, None]
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "bytes": path.stat().st_size,
        "images_per_second": (len(images.rows("test")) + len(images.rows("train"))) / seconds,
        "p@1": float(hits[:, 0].mean()),
        "p@8": float(hits.sum(1).mean() / 8),
    }
