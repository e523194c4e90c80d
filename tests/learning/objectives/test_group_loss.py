"""Group Loss against a naive loop, and what it is said to do."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from heml.learning.objectives.group_loss import GroupLoss, correlation


def test_correlation_is_numpys():
    x = torch.randn(7, 5)
    assert np.allclose(correlation(x).numpy(), np.corrcoef(x.numpy()), atol=1e-5)


@pytest.mark.parametrize("iterations", [1, 3])
def test_against_a_naive_loop(iterations):
    torch.manual_seed(0)
    x, y = torch.randn(8, 5), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    loss = GroupLoss(3, 5, iterations, anchors=1, scale=4.0)
    torch.manual_seed(3)
    value = loss(x, y).item()
    torch.manual_seed(3)
    anchor = loss._draw_anchors(y).tolist()
    assert [sum(a for a, label in zip(anchor, y.tolist(), strict=True) if label == c) for c in range(3)] == [1, 1, 1]
    w = np.corrcoef(x.numpy())
    p = [[0.0] * 3 for _ in range(8)]
    for i in range(8):
        cosine = [F.cosine_similarity(x[i], loss.weight[c].detach(), dim=0).item() for c in range(3)]
        weights = [math.exp(4 * c) for c in cosine]
        p[i] = [float(y[i] == c) for c in range(3)] if anchor[i] else [v / sum(weights) for v in weights]
    for _ in range(iterations):
        new = []
        for i in range(8):
            support = [sum(max(w[i, j], 0) * p[j][c] for j in range(8) if j != i) for c in range(3)]
            row = [p[i][c] * support[c] for c in range(3)]
            new.append([v / sum(row) for v in row] if sum(row) > 0 else p[i])
        p = new
    expected = -np.mean([math.log(p[i][int(y[i])]) for i in range(8) if not anchor[i]])
    assert value == pytest.approx(expected, rel=1e-4)


def test_neighbours_overrule_a_wrong_classifier():
    """Two tight groups with one anchor each: the dynamics put every member with its anchor."""
    torch.manual_seed(1)
    centre = torch.randn(16)
    x = torch.cat([torch.randn(6, 16) * 0.05 + centre, torch.randn(6, 16) * 0.05 - centre])
    y = torch.tensor([0] * 6 + [1] * 6)
    torch.manual_seed(0)
    alone = GroupLoss(2, 16, iterations=0)
    torch.manual_seed(0)
    together = GroupLoss(2, 16, iterations=10)
    assert together(x, y) < 0.2 * alone(x, y)


def test_all_anchors_is_no_error():
    x = torch.randn(2, 4, requires_grad=True)
    value = GroupLoss(2, 4)(x, torch.tensor([0, 1]))
    value.backward()
    assert value.item() == 0
