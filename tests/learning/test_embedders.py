"""Embedders against what their papers say of them."""

import pytest
import torch
from torch.nn import functional as F

from heml.learning.embedders import BatchDropBlock, DivideAndConquer, GeM, Horde, mac, new_embedder, spoc
from heml.learning.objectives import objective
from heml.params import EMBEDDERS, Train

Y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])


def features(h=3, w=2):
    return torch.randn(8, 12, h, w, generator=torch.Generator().manual_seed(0)).relu()


@pytest.mark.parametrize("name", EMBEDDERS)
def test_embeddings_have_length_1_and_every_weight_learns(name):
    torch.manual_seed(0)
    embedder = new_embedder(name, 12, 16, 10, 2)
    x = features()
    assert embedder.eval()(x).shape == (8, 10)
    assert torch.allclose(embedder(x).norm(dim=1), torch.ones(8), atol=1e-5)
    assert torch.equal(embedder(x), embedder(x))  # nothing random in evaluation
    loss, mined = embedder.train().loss(x, Y, objective(Train(loss="snr", miner="all", margin=0.9), 2))
    loss.backward()
    assert mined > 0
    for key, weight in embedder.named_parameters():
        assert weight.grad is not None, key
        assert torch.isfinite(weight.grad).all(), key


def test_pooling():
    x = features() + 0.1
    assert torch.allclose(spoc(x), F.adaptive_avg_pool2d(x, 1).flatten(1))
    assert torch.allclose(mac(x), F.adaptive_max_pool2d(x, 1).flatten(1))
    assert torch.allclose(GeM(1.0)(x), spoc(x), atol=1e-5)
    assert torch.allclose(GeM(60.0)(x), mac(x), rtol=0.05)
    assert torch.allclose(GeM(3.0)(x), F.lp_pool2d(x, 3, x.shape[2:]).flatten(1) / 6 ** (1 / 3), atol=1e-5)


def test_a_band_is_erased_for_the_whole_batch_in_training_alone():
    embedder = BatchDropBlock(12, 16, 10)
    x = torch.ones(8, 12, 6, 4)
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        erased = embedder.train().erase(x)[:, 0, :, 0] == 0
        assert erased.sum(1).tolist() == [2] * 8
        assert (erased == erased[0]).all()
        seen.add(int(erased[0].int().argmax()))
    assert seen == {0, 1, 2, 3, 4}
    assert torch.equal(embedder.eval().erase(x), x)
    assert torch.equal(embedder.train().erase(x[:, :, :1]), x[:, :, :1])


def test_maclaurin_features_estimate_the_powers_of_the_inner_product():
    """E[φ_k(x)·φ_k(y)] over random signs is the mean over pairs of cells of (f·g / C)^k: the kernel of the moments."""
    torch.manual_seed(0)
    embedder = Horde(12, 4, 4, orders=3, dims=200_000)
    x = torch.randn(2, 12, 2, 2)
    second, third = embedder.moments(x)
    f, g = x.flatten(2).transpose(1, 2)
    for found, power in ((second, 2), (third, 3)):
        expected = ((f @ g.T) / 12).pow(power).mean()
        assert float((found[0] * found[1]).mean()) == pytest.approx(float(expected), abs=0.02)


def test_a_learner_trains_its_own_dimensions_alone():
    embedder = DivideAndConquer(12, 16, 10, learners=3)
    assert [embedder.slice(i) for i in range(3)] == [slice(0, 3), slice(3, 7), slice(7, 10)]
    aim = objective(Train(loss="triplet_margin", miner="all", margin=2.0, embedding_dim=10), 2)
    embedder.learner = 1
    embedder.loss(features(), Y, aim)[0].backward()
    touched = embedder.out.weight.grad.abs().sum(1) > 0
    assert touched.tolist() == [False] * 3 + [True] * 4 + [False] * 3
