"""Attentive grouping against loops, and its two properties: positions do not matter, groups differ."""

import math

import pytest
import torch

from heml.baselines.grouping import AttentiveGrouping, Groups, diversity_loss
from heml.errors import HemlError
from heml.learning.networks import Architecture
from heml.learning.objectives import objective
from heml.params import Train

SHAPE = Architecture("resnet18", "plain", 16, 8, 2)


def groups(diversity: float = 1.0, features: int = 16, dims: int = 8, count: int = 4) -> Groups:
    torch.manual_seed(0)
    return Groups(features, dims, count, diversity)


def test_groups_are_attention_weighted_sums_written_as_loops():
    embedder, x = groups(), torch.randn(3, 16, 4, 5)
    found = embedder.groups(x)
    keys, values = embedder.key(x).detach(), embedder.value(x)
    for image in range(3):
        for k in range(4):
            scores = [
                float((embedder.queries[k].detach() * keys[image, :, i, j]).sum()) for i in range(4) for j in range(5)
            ]
            total = sum(math.exp(s) for s in scores)
            gathered = sum(math.exp(s) / total * values[image, :, n // 5, n % 5] for n, s in enumerate(scores))
            torch.testing.assert_close(found[image, k], gathered / gathered.norm())
    torch.testing.assert_close(embedder(x).norm(dim=1), torch.ones(3))
    torch.testing.assert_close(embedder.attention(x).sum((2, 3)), torch.ones(3, 4))


def test_a_permutation_of_positions_changes_nothing():
    embedder, x = groups(), torch.randn(2, 16, 3, 5)
    order = torch.randperm(15)
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(embedder(x), embedder(shuffled))
    torch.testing.assert_close(embedder.attention(x).flatten(2)[:, :, order], embedder.attention(shuffled).flatten(2))


def test_the_diversity_loss_is_the_papers_formula():
    x = torch.nn.functional.normalize(torch.randn(5, 3, 4), dim=2)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = (
        sum(
            sum(math.log(1 + math.exp(2 * (float(x[n, i] @ x[n, j]) - 0.5) * 25)) for n in range(5)) / 5
            for i, j in pairs
        )
        / 2
    )
    assert float(diversity_loss(x)) == pytest.approx(expected, rel=1e-4)


def overlap(embedder: Groups, x: torch.Tensor) -> float:
    """Mean over the pairs of groups of how much of their attention is on the same positions, in [0, 1]."""
    attention = embedder.attention(x).detach().flatten(2)
    count = attention.shape[1]
    pairs = [torch.minimum(attention[:, i], attention[:, j]).sum(1) for i in range(count) for j in range(i)]
    return float(torch.stack(pairs).mean())


@pytest.mark.parametrize("count", [2, 4])
def test_attention_overlaps_less_with_the_diversity_loss(count):
    torch.manual_seed(1)
    places = torch.randn(6, 16) * 2  # an image has the same six parts at its positions, in any order, and noise
    labels = torch.arange(24) % 2
    order = torch.stack([torch.randperm(6) for _ in labels])
    x = places[order] + 0.3 * torch.randn(24, 6, 16)
    x[..., 0] += labels[:, None] * 1.5  # so there is a metric to learn
    x = x.transpose(1, 2).reshape(24, 16, 2, 3)
    aim = objective(Train(embedding_dim=8, loss="triplet_margin"), 2)
    found = []
    for diversity in (0.0, 1.0):
        embedder = groups(diversity, count=count)
        optimizer = torch.optim.Adam(embedder.parameters(), 0.01)
        for _ in range(150):
            optimizer.zero_grad()
            embedder.loss(x, labels, aim)[0].backward()
            optimizer.step()
        found.append(overlap(embedder, x))
    assert found[1] < found[0] - 0.05, found


def test_a_map_of_one_cell_is_an_error():
    with pytest.raises(HemlError, match="single cell.*32×32.*enlarge"):
        AttentiveGrouping(SHAPE, (32, 32), 4, 1.0)


def test_evidence_is_every_groups_attention():
    network = AttentiveGrouping(SHAPE, (64, 64), 4, 1.0).eval()
    a, b = torch.randn(2, 1, 3, 64, 64)
    found = network.evidence(a, b)
    assert len(found.maps) == 4
    embedded = network(torch.cat([a, b]))
    assert found.distance == pytest.approx(float(1 - embedded[0] @ embedded[1]), abs=1e-5)
    for first, second in found.maps.values():
        assert first.shape == (64, 64)
        assert max(first.max(), second.max()) == 1
        assert min(first.min(), second.min()) >= 0
