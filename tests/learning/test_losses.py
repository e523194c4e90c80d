"""Losses and mined triplets against naive loops."""

import itertools

import pytest
import torch

from heml.learning.losses import LOSSES, objective
from heml.params import Train


def pair_distance(loss: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).var() / a.var() if loss == "snr" else (a - b).norm()


@pytest.mark.parametrize("loss", ["triplet_margin", "snr"])
@pytest.mark.parametrize("miner", ["all", "semihard", "hard"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_against_a_naive_loop(loss, miner, dtype):
    torch.manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(10, 6, dtype=dtype), dim=1).requires_grad_()
    y = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    settings = Train(loss=loss, miner=miner, margin=0.3, regularizer=0.2)
    kept = []
    for a, p, n in itertools.product(range(10), repeat=3):
        if a == p or y[a] != y[p] or y[a] == y[n]:
            continue
        positive, negative = pair_distance(loss, x[a], x[p]), pair_distance(loss, x[a], x[n])
        gap = float(negative - positive)
        if {"all": gap <= 0.3, "semihard": 0 < gap <= 0.3, "hard": gap <= 0}[miner]:
            kept.append(torch.relu(positive - negative + 0.3))
    positive_losses = [v for v in kept if v > 0]
    expected = torch.stack(positive_losses).mean()
    if loss == "snr":
        expected = expected + 0.2 * x.sum(1).abs().mean()
    value, mined = objective(settings)(x, y)
    assert mined == len(kept)
    assert float(value) == pytest.approx(float(expected), rel=1e-4)
    value.backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_no_triplet_is_no_error(loss):
    x = torch.nn.functional.normalize(torch.randn(4, 6), dim=1).requires_grad_()
    value, mined = objective(Train(loss=loss, regularizer=0))(x, torch.zeros(4, dtype=torch.long))
    assert mined == 0
    assert float(value) == 0
    value.backward()


def test_every_loss_the_parameters_allow_exists():
    import typing

    assert set(typing.get_args(Train.model_fields["loss"].annotation)) == set(LOSSES)
