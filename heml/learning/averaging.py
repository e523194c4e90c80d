"""How a parent starts: from the weighted average of its children (HEML, Algorithm 1), or from what it is compared
with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

State = dict[str, torch.Tensor]


def average(states: Sequence[State], weights: Sequence[float]) -> State:
    """The weighted mean of networks of one shape. Meaningful only between networks with a common ancestor.

    Args:
        weights: not negative, with a positive sum; normalised here. If all are 0, all count alike.

    Raises:
        ValueError: other names or shapes, or negative weights.
    """
    if any(w < 0 for w in weights) or len(weights) != len(states):
        raise ValueError(f"one weight of at least 0 for each of {len(states)} networks, not {list(weights)}")
    total = sum(weights)
    shares = [w / total for w in weights] if total > 0 else [1 / len(states)] * len(states)
    first = states[0]
    for other in states[1:]:
        if {k: v.shape for k, v in other.items()} != {k: v.shape for k, v in first.items()}:
            raise ValueError("the networks differ in shape")
    mixed: State = {}
    for key, value in first.items():
        if value.is_floating_point():
            stacked = torch.stack([share * state[key].double() for share, state in zip(shares, states, strict=True)])
            mixed[key] = stacked.sum(0).to(value.dtype)
        else:
            mixed[key] = value.clone()
    return mixed


@torch.no_grad()
def reestimate_batchnorm(network: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Replace BatchNorm's running statistics by the mean over `batches`.

    The average of two networks' statistics describes neither's activations, so they are measured anew.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # cumulative average
    was_training = network.training
    network.train()
    for batch in batches:
        network(batch)
    network.train(was_training)
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
