"""Losses by name. A new one is an entry of `LOSSES` here and its options in `heml.params.LOSSES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pytorch_metric_learning import losses
from pytorch_metric_learning.regularizers import ZeroMeanRegularizer
from torch import nn

from heml.distances import Distance
from heml.learning.objectives.group_loss import GroupLoss
from heml.learning.objectives.pml_distances import training_distance


@dataclass(frozen=True)
class Shape:
    """What losses with weights of their own must know."""

    classes: int
    embedding_dim: int


Build = Callable[[Mapping[str, float], Distance, Shape], nn.Module]

ANY: tuple[Distance, ...] = ("euclidean", "snr", "cosine", "l<p>")


@dataclass(frozen=True)
class Loss:
    """How a loss is made, and what goes with it."""

    build: Build
    """From its options, the distance and the shape."""
    distances: tuple[Distance, ...]
    """What it can compare under, its own first; `l<p>` stands for any Lp distance."""
    miners: tuple[str, ...]
    """What can mine for it, its default first."""


TRIPLET_MINERS = ("all", "semihard", "hard", "batch_hard", "distance_weighted", "multi_similarity", "angular", "none")
PAIR_MINERS = ("none", "multi_similarity", "batch_hard", "distance_weighted", "all", "semihard", "hard", "angular")


def _triplet(o: Mapping[str, float], distance: Distance, shape: Shape) -> nn.Module:
    """max(0, d(a, p) − d(a, n) + margin), averaged where positive (Schroff et al. 2015, unsquared)."""
    return losses.TripletMarginLoss(o["margin"], distance=training_distance(distance))


def _snr(o: Mapping[str, float], distance: Distance, shape: Shape) -> nn.Module:
    """The triplet loss on SNR distance, with the zero-mean regulariser (Yuan et al., CVPR 2019, eq. 9 and 10).

    Their contrastive form is `contrastive` with `distance: snr`.
    """
    return losses.TripletMarginLoss(
        o["margin"],
        distance=training_distance(distance),
        embedding_regularizer=ZeroMeanRegularizer(),
        embedding_reg_weight=o["regularizer"],
    )


def _contrastive(o: Mapping[str, float], distance: Distance, shape: Shape) -> nn.Module:
    """max(0, d(pos) − pos_margin) + max(0, neg_margin − d(neg)), each averaged where positive (Hadsell et al. 2006,
    unsquared)."""
    return losses.ContrastiveLoss(o["pos_margin"], o["neg_margin"], distance=training_distance(distance))


def _margin(o: Mapping[str, float], distance: Distance, shape: Shape) -> nn.Module:
    """max(0, d(a, p) − β + margin) + max(0, β − d(a, n) + margin) with a learned β per class (Wu et al., ICCV 2017)."""
    return losses.MarginLoss(
        o["margin"],
        o["nu"],
        o["beta"],
        learn_beta=True,
        num_classes=shape.classes,
        distance=training_distance(distance),
    )


LOSSES: dict[str, Loss] = {
    "triplet_margin": Loss(_triplet, ANY, TRIPLET_MINERS),
    "batch_hard_triplet": Loss(_triplet, ANY, ("batch_hard",)),
    "snr": Loss(_snr, ("snr",), tuple(m for m in TRIPLET_MINERS if m not in ("distance_weighted", "angular"))),
    "contrastive": Loss(_contrastive, ANY, PAIR_MINERS),
    "margin": Loss(_margin, ANY, ("distance_weighted", *(m for m in TRIPLET_MINERS if m != "distance_weighted"))),
    "angular": Loss(lambda o, d, s: losses.AngularLoss(o["alpha"]), ("euclidean",), ("none",)),
    "multi_similarity": Loss(
        lambda o, d, s: losses.MultiSimilarityLoss(o["alpha"], o["beta"], o["base"]),
        ("cosine",),
        ("multi_similarity", "none"),
    ),
    "ntxent": Loss(lambda o, d, s: losses.NTXentLoss(o["temperature"]), ("cosine",), ("none",)),
    "circle": Loss(lambda o, d, s: losses.CircleLoss(o["relaxation"], o["scale"]), ("cosine",), PAIR_MINERS),
    "proxy_anchor": Loss(
        lambda o, d, s: losses.ProxyAnchorLoss(s.classes, s.embedding_dim, o["margin"], o["alpha"]),
        ("cosine",),
        ("none",),
    ),
    "subcenter_arcface": Loss(
        lambda o, d, s: losses.SubCenterArcFaceLoss(
            num_classes=s.classes,
            embedding_size=s.embedding_dim,
            margin=o["angle"],
            scale=o["scale"],
            sub_centers=int(o["sub_centers"]),
        ),
        ("cosine",),
        ("none",),
    ),
    "group": Loss(
        lambda o, d, s: GroupLoss(
            s.classes, s.embedding_dim, int(o["iterations"]), int(o["anchors"]), o["scale"], o["temperature"]
        ),
        ("snr",),
        ("none",),
    ),
}
