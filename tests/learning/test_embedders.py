"""Embedders against what their papers say of them."""

import itertools

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
    embedder = new_embedder(name, 12, 16, 16, 2)
    x = features()
    assert embedder.eval()(x).shape == (8, 16)
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


def test_each_branch_of_batch_dropblock_has_a_loss_of_its_own():
    """By hand: the triplet loss of every branch alone, added; the loss of the joined embedding is another number."""
    embedder = BatchDropBlock(12, 16, 10).eval()
    x = features()
    whole = F.normalize(embedder.out(F.relu(embedder.hidden(x.mean((2, 3))))), dim=1)
    part = F.normalize(embedder.erased.out(F.relu(embedder.erased.hidden(x.amax((2, 3))))), dim=1)
    assert torch.allclose(embedder(x), torch.cat([whole, part], 1) / 2**0.5, atol=1e-6)

    def triplets(e):
        d = torch.cdist(e, e)
        found = [
            d[a, p] - d[a, n] + 1.5
            for a, p, n in itertools.product(range(8), repeat=3)
            if a != p and Y[a] == Y[p] and Y[a] != Y[n] and d[a, p] - d[a, n] + 1.5 > 0
        ]
        return sum(found) / len(found)

    aim = objective(Train(loss="triplet_margin", miner="all", margin=1.5), 2)
    loss = embedder.loss(x, Y, aim)[0]
    assert float(loss) == pytest.approx(float(triplets(whole) + triplets(part)), rel=1e-4)
    assert float(loss) != pytest.approx(float(aim(embedder(x), Y)[0]), rel=1e-2)


def test_parts_of_an_embedding_go_with_no_centres_and_learners_need_two_dimensions():
    for embedder in ("batch_drop_block", "divide_conquer"):
        with pytest.raises(
            ValueError, match=f"embedder '{embedder}' trains parts .* 'proxy_anchor' has no class centres"
        ):
            Train(embedder=embedder, loss="proxy_anchor")
    with pytest.raises(ValueError, match=r"embedding_dim \(14\) must be at least 2 for each of the 8 learners"):
        Train(embedder="divide_conquer", embedding_dim=14)


def exact_kernels(x, orders):
    """Mean over all pairs of cells of (f·g / C)^k for every pair of images: (B, B) for k = 2 to `orders`, by loops over
    images."""
    cells = x.flatten(2).transpose(1, 2).double()
    products = [[f @ g.T / x.shape[1] for g in cells] for f in cells]
    return [torch.tensor([[float(p.pow(k).mean()) for p in row] for row in products]) for k in range(2, orders + 1)]


def test_maclaurin_features_estimate_the_powers_of_the_inner_product():
    """E[φ_k(x)·φ_k(y)] over random signs is the mean over pairs of cells of (f·g / C)^k: the kernel of the moments."""
    embedder = Horde(12, 4, 4, orders=3, dims=200_000)
    x = torch.randn(2, 12, 2, 2)
    for found, exact in zip(embedder.moments(x), exact_kernels(x, 3), strict=True):
        assert float((found[0] * found[1]).mean()) == pytest.approx(float(exact[0, 1]), abs=0.02)


def test_the_papers_8192_dimensions_rank_images_as_the_exact_kernel_does_up_to_order_5():
    """Cosines of 16 images' moments against those of the exact polynomial kernel, over all pairs.

    The maps are a trunk's in kind: not negative, and images share what they show, in varied amounts, so that some are
    alike.
    """
    generator = torch.Generator().manual_seed(1)
    shown = torch.randn(3, 128, 1, 1, generator=generator).relu()
    amounts = torch.rand(16, 3, 4, 4, generator=generator) * torch.rand(16, 3, 1, 1, generator=generator).pow(2)
    x = torch.einsum("ipab,pcab->icab", amounts, shown.expand(-1, -1, 4, 4))
    x = x + 0.1 * torch.randn(16, 128, 4, 4, generator=generator).relu()
    upper = torch.triu_indices(16, 16, 1).unbind()
    error = {}
    for dims in (512, 8192):
        moments = Horde(128, 4, 4, orders=5, dims=dims).moments(x)
        assert len(moments) == 4
        for order, (moment, exact) in enumerate(zip(moments, exact_kernels(x, 5), strict=True), 2):
            length = exact.diag().sqrt()
            expected = (exact / length[:, None] / length)[upper]
            found = F.normalize(moment, dim=1)
            found = (found @ found.T)[upper]
            error[order, dims] = float((found - expected).square().mean().sqrt())
            if dims == 8192:
                assert float(torch.corrcoef(torch.stack([found, expected]))[0, 1]) > 0.97, order
    few, many = (sum(error[order, dims] for order in range(2, 6)) for dims in (512, 8192))
    assert many == pytest.approx(few / 4, rel=0.4)  # as 1 / √dims


def test_horde_adds_a_loss_for_every_order_and_embeds_by_the_first_alone():
    torch.manual_seed(0)
    embedder, x = Horde(12, 16, 10, orders=5, dims=64), features()
    aim = objective(Train(loss="triplet_margin", miner="all", margin=2.0), 2)
    parts = [embedder(x)]
    for layer, moment in zip(embedder.high, embedder.moments(x), strict=True):
        parts.append(F.normalize(F.normalize(moment, dim=1) @ layer.weight.T, dim=1))
    assert len(parts) == 5
    assert float(embedder.loss(x, Y, aim)[0]) == pytest.approx(sum(float(aim(part, Y)[0]) for part in parts), rel=1e-5)
    again = Horde(12, 16, 10, orders=5, dims=64)  # of another seed
    assert torch.equal(torch.stack(again.moments(x)), torch.stack(embedder.moments(x)))
    assert {key.split(".")[0] for key in embedder.state_dict()} == {"hidden", "out", "high"}


def test_a_learner_trains_its_own_dimensions_alone_and_every_slice_has_one_length():
    embedder = DivideAndConquer(12, 16, 10, learners=3)
    aim = objective(Train(loss="triplet_margin", miner="all", margin=2.0, embedding_dim=10), 2)
    embedder.learner = 1
    loss = embedder.loss(features(), Y, aim)[0]
    loss.backward()
    touched = embedder.out.weight.grad.abs().sum(1) > 0
    assert touched.tolist() == [False] * 4 + [True] * 3 + [False] * 3
    embedded = embedder.eval()(features())
    raw = embedder.embed(spoc(features()))
    for first, last in ((0, 4), (4, 7), (7, 10)):
        expected = raw[:, first:last] / raw[:, first:last].norm(dim=1, keepdim=True) / 3**0.5
        assert torch.allclose(embedded[:, first:last], expected, atol=1e-6)
    assert float(loss) == pytest.approx(float(aim(F.normalize(raw[:, 4:7], dim=1), Y)[0]), rel=1e-5)
