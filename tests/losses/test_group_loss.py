"""Group Loss against a naive loop, and what it is said to do."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from heml.losses._group_loss import GroupLoss, correlation


def test_correlation_is_numpys():
    x = torch.randn(7, 5)
    assert np.allclose(correlation(x).numpy(), np.corrcoef(x.numpy()), atol=1e-5)


@pytest.mark.parametrize(
    ("iterations", "anchors", "temperature"), [(1, 2, 10.0), (1, 1, 1.0), (3, 1, 2.0), (0, 1, 1.0)]
)
def test_against_a_naive_loop(iterations, anchors, temperature):
    torch.manual_seed(0)
    x, y = torch.randn(8, 5), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    loss = GroupLoss(3, 5, iterations, anchors, 4.0, temperature)
    torch.manual_seed(3)
    value = loss(x, y).item()
    torch.manual_seed(3)
    anchor = loss._draw_anchors(y).tolist()
    assert [sum(a for a, label in zip(anchor, y.tolist(), strict=True) if label == c) for c in range(3)] == [
        anchors
    ] * 3
    w = np.corrcoef(x.numpy())  # with a diagonal of 1: a sample supports itself
    cosine = [[F.cosine_similarity(x[i], loss.weight[c].detach(), dim=0).item() for c in range(3)] for i in range(8)]
    p, classified = [], []
    for i in range(8):
        weights = [math.exp(4 * c / temperature) for c in cosine[i]]
        p.append([float(y[i] == c) for c in range(3)] if anchor[i] else [v / sum(weights) for v in weights])
        classified.append(4 * cosine[i][y[i]] - math.log(sum(math.exp(4 * c) for c in cosine[i])))
    for _ in range(iterations):
        new = []
        for i in range(8):
            row = [p[i][c] * sum(max(w[i, j], 0) * p[j][c] for j in range(8)) for c in range(3)]
            new.append([v / sum(row) for v in row])
        p = new
    refined = [math.log(p[i][int(y[i])]) for i in range(8)]
    assert all(refined[i] == 0 for i in range(8) if anchor[i])
    assert value == pytest.approx(-np.mean(refined) - np.mean(classified), rel=1e-4)


def test_neighbours_overrule_a_wrong_classifier():
    """Two tight groups with one anchor each: the dynamics put every member with its anchor."""
    torch.manual_seed(1)
    centre = torch.randn(16)
    x = torch.cat([torch.randn(6, 16) * 0.05 + centre, torch.randn(6, 16) * 0.05 - centre])
    y = torch.tensor([0] * 6 + [1] * 6)
    torch.manual_seed(0)
    loss = GroupLoss(2, 16, 10, anchors=1, scale=10.0, temperature=1.0)
    classified = F.cross_entropy(10 * F.normalize(x, dim=1) @ F.normalize(loss.weight, dim=1).T, y)
    assert loss(x, y) - classified < 0.2 * classified


def test_of_anchors_alone_the_cross_entropy_is_left():
    x = torch.randn(2, 4, requires_grad=True)
    y = torch.tensor([0, 1])
    loss = GroupLoss(2, 4, 1, anchors=2, scale=10.0, temperature=10.0)
    value = loss(x, y)
    value.backward()
    classified = F.cross_entropy(10 * F.normalize(x, dim=1) @ F.normalize(loss.weight, dim=1).T, y)
    assert value.item() == pytest.approx(classified.item())


def test_collapsed_embeddings_give_no_nan():
    x = torch.ones(6, 4, requires_grad=True)
    value = GroupLoss(2, 4, 1, anchors=1, scale=10.0, temperature=10.0)(x, torch.tensor([0, 0, 0, 1, 1, 1]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()
