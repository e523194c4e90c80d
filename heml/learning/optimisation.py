"""Optimisers, learning-rate schedules and stochastic weight averaging, by the names of `heml.params.Train`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim import lr_scheduler as schedules

from heml.params import Train


def new_optimizer(
    network: nn.Module, own: Sequence[tuple[Sequence[nn.Parameter], float]], settings: Train
) -> Optimizer:
    """The optimiser of a network.

    Args:
        own: weights, the network's or its loss's, that learn at a rate of their own and without weight decay.
    """
    apart = {id(parameter) for parameters, _ in own for parameter in parameters}
    groups: list[dict[str, object]] = [{"params": [p for p in network.parameters() if id(p) not in apart]}]
    groups += [{"params": list(parameters), "lr": lr, "weight_decay": 0.0} for parameters, lr in own if len(parameters)]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, settings.lr, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay, fused=True
        )
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, settings.lr, weight_decay=settings.weight_decay, fused=True)


def new_schedule(optimizer: Optimizer, settings: Train, epoch: int, epochs: int) -> schedules.LRScheduler:
    """The learning rate of every step; each group keeps its own peak.

    Args:
        epoch: steps of one epoch.
        epochs: how many epochs.
    """
    total = epoch * epochs
    peaks = [group["lr"] for group in optimizer.param_groups]
    if settings.schedule == "one_cycle":
        # torch divides by 0 at exactly one step
        return schedules.OneCycleLR(optimizer, peaks, total_steps=total, pct_start=settings.warmup + 1e-9)
    if settings.schedule == "cyclic":
        return schedules.CyclicLR(
            optimizer,
            [peak / 10 for peak in peaks],
            peaks,
            step_size_up=max(epoch // 2, 1),
            step_size_down=max(epoch - epoch // 2, 1),
            cycle_momentum=False,
        )
    rising = round(settings.warmup * total)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        if settings.schedule == "constant":
            return 1.0
        return (1 + math.cos(math.pi * (step - rising) / max(total - rising, 1))) / 2

    return schedules.LambdaLR(optimizer, share)
