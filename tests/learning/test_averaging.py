"""How a parent starts."""

import pytest
import torch
from torch import nn

from heml.learning.averaging import average, reestimate_batchnorm
from heml.learning.networks import MetricNetwork, new_network
from heml.params import Train


def network(seed: int) -> MetricNetwork:
    return new_network(Train(hidden_dim=8, embedding_dim=4, seed=seed), 2, (16, 40))


def test_the_average_is_the_weighted_mean_of_every_weight():
    a, b = (network(seed).state_dict() for seed in (0, 1))
    mixed = average([a, b], [3, 1])
    for key in a:
        if a[key].is_floating_point():
            assert torch.allclose(mixed[key], 0.75 * a[key] + 0.25 * b[key], atol=1e-6), key
    assert mixed["trunk.bn1.num_batches_tracked"].dtype == torch.int64
    same = average([a, a], [0.2, 0.9])
    assert all(torch.allclose(same[key], a[key]) for key in a)


def test_weights_without_meaning_are_refused_and_zeros_count_alike():
    a, b = {"w": torch.tensor([2.0])}, {"w": torch.tensor([4.0])}
    assert float(average([a, b], [0, 0])["w"]) == 3
    with pytest.raises(ValueError, match="at least 0"):
        average([a, b], [1, -1])
    with pytest.raises(ValueError, match="differ in shape"):
        average([a, {"w": torch.zeros(2)}], [1, 1])


def test_batchnorm_is_measured_anew():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten())
    network[0].running_mean.fill_(99)
    batches = [torch.randn(16, 3, 5, 5) * 2 + 1 for _ in range(4)]
    network.eval()
    reestimate_batchnorm(network, batches)
    assert torch.allclose(network[0].running_mean, torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0), atol=1e-5)
    assert torch.allclose(network[0].running_var, torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0), atol=1e-4)
    assert network[0].momentum == 0.1
    assert not network.training


def test_the_common_initialisation_is_common():
    a, b = network(7), network(7)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    x = torch.randn(2, 3, 16, 40)
    assert torch.allclose(a.eval()(x).norm(dim=1), torch.ones(2))
