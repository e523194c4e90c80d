"""Distances for training against the library's own and torch's."""

import pytest
import torch
from pytorch_metric_learning.distances import SNRDistance
from torch.nn import functional as F

from heml.distances import correlation_distance, nearest, snr
from heml.learning.pml_distances import training_distance


def test_snr_by_one_product_is_the_librarys_and_so_is_its_gradient():
    torch.manual_seed(0)
    x = torch.randn(24, 64)
    found = []
    for distance in (training_distance("snr"), SNRDistance()):
        y = x.clone().requires_grad_()
        matrix = distance(y)
        matrix[:8, 8:].square().sum().backward()
        found.append((matrix.detach(), y.grad))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-4)
    pairs = training_distance("snr").pairwise_distance(x[:5], x[5:10])
    assert torch.allclose(pairs, SNRDistance().pairwise_distance(x[:5], x[5:10]))


@pytest.mark.parametrize("name", ["euclidean", "l1", "l1.5", "l3", "cosine"])
def test_matrix_and_ranking_are_torchs(name):
    x = F.normalize(torch.randn(12, 8), dim=1)
    expected = (
        1 - F.cosine_similarity(x[:, None], x[None], dim=2)
        if name == "cosine"
        else torch.cdist(x, x, p=2.0 if name == "euclidean" else float(name[1:]))
    )
    distance = training_distance(name)
    assert torch.allclose(distance(x), expected, atol=1e-5)
    assert torch.allclose(distance.pairwise_distance(x[:6], x[6:]), expected[:6, 6:].diag(), atol=1e-5)
    values, order = nearest(x[:6], x[6:], 3, name)
    assert torch.equal(order, expected[:6, 6:].topk(3, largest=False).indices)
    assert torch.allclose(values, expected[:6, 6:].gather(1, order), atol=1e-5)


def test_snr_and_its_bounded_form_know_no_triangle_inequality():
    """The counter-example of docs/methods.md; the root of the bounded form keeps the inequality."""
    a, b, c = (torch.tensor(v, dtype=torch.float64) for v in ([1, -1, 0], [1, 0, -1], [0, 1, -1]))
    for distance, sides in ((correlation_distance, (0.25, 0.25, 0.75)), (snr, (1, 1, 3))):
        ab, bc, ac = (float(distance(*pair)) for pair in ((a, b), (b, c), (a, c)))
        assert (ab, bc, ac) == pytest.approx(sides)
        assert ac > ab + bc
        assert ac**0.5 <= ab**0.5 + bc**0.5
    x = torch.randn(12, 5, dtype=torch.float64)
    root = correlation_distance(x[:, None], x).sqrt()
    assert (root[:, None] <= root[:, :, None] + root + 1e-7).all()
