"""Learning rates against closed forms."""

import math

import pytest
import torch
from torch import nn

from heml.learning.optimisation import new_optimizer, new_schedule
from heml.params import Train


def rates(settings: Train, epoch: int, epochs: int) -> list[list[float]]:
    own = [nn.Parameter(torch.zeros(3))]
    optimizer = new_optimizer(nn.Linear(2, 2), [(own, settings.loss_lr)], settings)
    schedule = new_schedule(optimizer, settings, epoch, epochs)
    seen = []
    for _ in range(epoch * epochs):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


def test_the_losss_own_weights_keep_their_own_rate():
    for schedule in ("constant", "cosine", "one_cycle", "cyclic"):
        for step in rates(Train(lr=1e-3, loss_lr=5e-2, schedule=schedule), 10, 3):
            assert step[1] == pytest.approx(50 * step[0])


def test_cosine_rises_then_falls():
    found = [r[0] for r in rates(Train(lr=1.0, schedule="cosine", warmup=0.25), 10, 4)]
    for step, rate in enumerate(found):
        expected = (step + 1) / 11 if step < 10 else (1 + math.cos(math.pi * (step - 10) / 30)) / 2
        assert rate == pytest.approx(expected)


def test_constant_and_cyclic():
    assert [r[0] for r in rates(Train(lr=0.5, schedule="constant", warmup=0), 3, 2)] == [0.5] * 6
    found = [r[0] for r in rates(Train(lr=1.0, schedule="cyclic"), 10, 3)]
    assert found[:10] == pytest.approx(found[10:20])
    assert max(found) == pytest.approx(1)
    assert min(found) == pytest.approx(0.1)
    assert found[5] == pytest.approx(1)


@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_one_cycle_reaches_its_peak_and_ends_near_zero(warmup):
    found = [r[0] for r in rates(Train(lr=1.0, schedule="one_cycle", warmup=warmup), 10, 4)]
    assert max(found) == pytest.approx(1, abs=0.01)
    assert found[-1] < 1e-3
    assert found.index(max(found)) == (11 if warmup else 0)


def test_one_step_of_warmup_is_no_division_by_zero():
    assert len(rates(Train(schedule="one_cycle", warmup=0.1), 10, 1)) == 10
    assert len(rates(Train(schedule="one_cycle"), 1, 1)) == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimisers_by_name(name, kind):
    optimizer = new_optimizer(nn.Linear(2, 2), [], Train(optimizer=name, weight_decay=0.3))
    assert type(optimizer) is kind
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3]
