"""Distances and neighbours against naive loops and the library's own SNR distance."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import SNRDistance
from sklearn.neighbors import NearestNeighbors

from heml.distances import correlation_distance, nearest, snr


@pytest.fixture
def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 16, generator=generator), torch.randn(70, 16, generator=generator)


def test_snr_is_the_librarys_and_the_formula(vectors):
    a, b = vectors
    ours = snr(a[:, None], b[None])
    library = SNRDistance(normalize_embeddings=False)(a, b)
    assert torch.allclose(ours, library, atol=1e-5)
    x, y = a[3].numpy(), b[5].numpy()
    assert float(ours[3, 5]) == pytest.approx(np.var(x - y, ddof=1) / np.var(x, ddof=1), rel=1e-5)


def test_correlation_distance_is_symmetric_within_0_and_1_and_reaches_both(vectors):
    a, b = vectors
    d = correlation_distance(a[:, None], b[None])
    assert torch.allclose(d, correlation_distance(b[:, None], a[None]).T)
    assert float(d.min()) >= 0
    assert float(d.max()) <= 1
    assert float(d[3, 5]) == pytest.approx((1 - np.corrcoef(a[3], b[5])[0, 1]) / 2, abs=1e-6)
    assert float(correlation_distance(a[0], 2 * a[0] + 3)) == pytest.approx(0, abs=1e-6)
    assert float(correlation_distance(a[0], -a[0])) == pytest.approx(1)
    assert float(correlation_distance(torch.ones(4), torch.arange(4.0))) == 0.5


def test_correlation_distance_ranks_as_snr_does_between_embeddings_of_one_variance(vectors):
    a, b = (x / x.std(1, keepdim=True) for x in vectors)
    assert torch.equal(correlation_distance(a[0], b).argsort(), snr(a[0], b).argsort())


@pytest.mark.parametrize("distance", ["snr", "euclidean"])
@pytest.mark.parametrize("chunk", [7, 4096])
def test_nearest_against_a_naive_search(vectors, monkeypatch, distance, chunk):
    monkeypatch.setattr("heml.distances._CHUNK", chunk)
    q, r = vectors
    full = SNRDistance(normalize_embeddings=False)(q, r) if distance == "snr" else torch.cdist(q, r)
    expected, order = full.topk(5, largest=False)
    found, indices = nearest(q, r, 5, distance)
    assert torch.equal(indices, order)
    assert torch.allclose(found, expected, atol=1e-4)


def test_no_image_is_its_own_neighbour_even_among_duplicates():
    x = torch.randn(12, 8)
    x[3] = x[7]
    found = nearest(x, x, 11, "euclidean", torch.arange(12))[1]
    for i, row in enumerate(found.tolist()):
        assert i not in row
        assert len(set(row)) == 11
    assert found[3, 0] == 7
    assert nearest(x, x, 99, "euclidean", torch.arange(12))[1].shape == (12, 11)
    oracle = NearestNeighbors(n_neighbors=2).fit(x.numpy()).kneighbors(x.numpy())[1][:, 1]
    alike = {3: 7}  # the same vector under two numbers: which of them is named first is free
    keep = [i for i in range(12) if i not in (3, 7)]
    assert [alike.get(i, i) for i in found[keep, 0].tolist()] == [alike.get(i, i) for i in oracle[keep].tolist()]
