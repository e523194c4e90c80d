"""Teacher to student: a small network learns its own loss, and beside it a trained node's metric.

Yu et al., "Learning Metrics from Teachers", CVPR 2019; the relative term is also the distance-wise one of Park et al.,
"Relational Knowledge Distillation", CVPR 2019, without its division by the mean distance.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from heml.distances import Distance, nearest
from heml.json_file import write_json
from heml.learning.checkpoints import load_network, save_node
from heml.learning.embedders import Aim
from heml.learning.inference import embed
from heml.learning.inputs import NodeImages, compose
from heml.learning.live import live_curve
from heml.learning.networks import Architecture, MetricNetwork
from heml.learning.objectives import objective
from heml.learning.training import reproducible, train_node
from heml.params import Student, Train
from heml.run import Run
from heml.sealed import fingerprint


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor, absolute: float, relative: float) -> torch.Tensor:
    """How far a student's embeddings are from its teacher's, (B, D) each, of length 1.

    `absolute` weighs the mean Euclidean distance between the two embeddings of an image, `relative` the mean absolute
    difference between the two Euclidean distances of a pair of images; neither is squared.
    """
    loss: torch.Tensor = absolute * (student - teacher).norm(dim=1).mean()
    return loss + relative * (F.pdist(student) - F.pdist(teacher)).abs().mean()


class Distilled(MetricNetwork):
    """A network whose training loss has a teacher in it; its weights are its own alone."""

    def __init__(
        self, architecture: Architecture, size: tuple[int, int], teacher: MetricNetwork, settings: Student
    ) -> None:
        """Args:
        size: height and width of the images.
        teacher: makes embeddings as wide as the student's. It stays as it is.
        """
        super().__init__(architecture, size)
        # In a tuple it is no submodule: `train()`, `state_dict()` and `parameters()` pass it by.
        self.teacher = (teacher.eval(),)
        self.absolute, self.relative = settings.absolute, settings.relative

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim, half: bool = False) -> tuple[torch.Tensor, int]:
        """The aim's own, and beside it how far the embeddings are from the teacher's of the same augmented images."""
        with torch.inference_mode():
            target = self.teacher[0](x)  # (B, D)

        def both(embedded: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, int]:
            loss, mined = aim(embedded, labels)
            return loss + distillation_loss(embedded, target.clone(), self.absolute, self.relative), mined

        return super().loss(x, labels, both, half)


def build_student(name: str, settings: Student, train: Train, run: Run) -> dict[str, Any]:
    """Train a student of a node and write its weights and its report; returns the report.

    It sees the teacher's segments in the teacher's box, recomposed as for the teacher and augmented as `train` says;
    its own loss, batches, optimiser, schedule and seed are `train`'s too.

    Raises:
        HemlError: the teacher is missing, the loss is not finite, or its settings do not go together.
    """
    device = reproducible(train)
    header, teacher = load_network(run.node(settings.teacher), device)
    images = compose(header.leaves, run, header.box, recompose=True).on(device)
    shape = Architecture(
        settings.trunk, "plain", settings.hidden_dim, header.architecture.embedding_dim, images.classes
    )
    torch.manual_seed(train.seed)
    student = Distilled(shape, images.size, teacher, settings).to(device)
    # What the student does not set for itself is the teacher's: batches, losses and augmentation.
    own = train.model_copy(
        update={"lr": settings.lr, "epochs": settings.epochs, "embedding_dim": shape.embedding_dim, "embedder": "plain"}
    )
    # Epochs are chosen by the distance that the student is measured under, the teacher's.
    aim = replace(objective(own, images.classes), distance=header.distance)
    began = time.perf_counter()
    with live_curve(run.live("students", name), name) as watch:
        result = train_node(name, student, images, own, device, aim, watch)
    seconds = time.perf_counter() - began

    lineage = {f"node={header.node}": fingerprint(run.node(header.node))}
    kept = replace(
        header,
        node=name,
        children=[],
        architecture=shape,
        weights=None,
        seed=train.seed,
        val_p1=[result.known_p1],
        lineage=lineage,
    )
    save_node(run.student(name), kept, [result.state], train.stored)
    report = {
        "student": name,
        "teacher": header.node,
        "best_epoch": result.best_epoch,
        "note": result.note,
        "history": result.history,
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
