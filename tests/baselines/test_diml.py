"""Structural matching against a linear programme, loops and known matches."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch.nn import functional as F

from heml.baselines.diml import Diml, sinkhorn, structural_similarity
from heml.baselines.traditional import Traditional
from heml.distances import nearest
from heml.errors import HemlError
from heml.learning.networks import Architecture

SHAPE = Architecture("resnet18", "plain", 16, 8, 2)


def test_a_plan_with_little_smoothing_costs_as_little_as_the_linear_programme():
    rng = np.random.default_rng(0)
    cost = rng.random((5, 4))
    rows, columns = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(4))
    constraints = np.zeros((9, 20))
    for i in range(5):
        constraints[i, i * 4 : (i + 1) * 4] = 1
    for j in range(4):
        constraints[5 + j, j::4] = 1
    best = linprog(cost.ravel(), A_eq=constraints, b_eq=np.concatenate([rows, columns]))
    plan = sinkhorn(*(torch.tensor(x) for x in (cost, rows, columns)), 0.002, 3000)
    assert float((plan * torch.tensor(cost)).sum()) == pytest.approx(best.fun, abs=2e-3)
    np.testing.assert_allclose(plan.sum(0), columns, atol=1e-9)
    np.testing.assert_allclose(plan.sum(1), rows, atol=1e-3)


def test_the_plan_finds_parts_that_have_moved():
    torch.manual_seed(0)
    parts = F.normalize(torch.randn(9, 16), dim=1)
    order = torch.randperm(9)
    whole = F.normalize(parts.mean(0, keepdim=True), dim=1)
    a, b = torch.cat([whole, parts]), torch.cat([whole, parts[order]])
    similarity, plan = structural_similarity(a, b, 0.02, 200)
    weights = (parts @ whole[0]).clamp_min(0)
    counted = torch.nonzero(weights / weights.sum() > 0.05).squeeze(1)
    assert len(counted) >= 3
    assert (plan.argmax(1)[counted] == order.argsort()[counted]).all()
    assert float(similarity) > 0.9
    unrelated = torch.cat([whole, F.normalize(torch.randn(9, 16), dim=1)])
    assert float(structural_similarity(a, unrelated, 0.02, 200)[0]) < float(similarity) - 0.3


def test_marginals_are_cross_correlations():
    torch.manual_seed(1)
    a, b = F.normalize(torch.randn(2, 5, 8), dim=2)
    _, plan = structural_similarity(a, b, 0.05, 500)
    expected = (a[1:] @ b[0]).clamp_min(0) + 1e-5
    torch.testing.assert_close(plan.sum(1), expected / expected.sum(), atol=1e-3, rtol=0)


def test_representations_are_the_traditional_embedding_and_its_cells():
    torch.manual_seed(0)
    network = Diml(SHAPE, (64, 64), 4, 10, 0.05, 50).eval()
    traditional = Traditional(SHAPE, (64, 64)).eval()
    traditional.load_state_dict(network.state_dict())
    x = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        found = network(x).view(3, 1 + 4, 8)
        torch.testing.assert_close(found[:, 0], traditional(x))
        cell = traditional.embedder.embed(traditional.trunk(x)[:, :, 0, 1])
        torch.testing.assert_close(found[:, 2], F.normalize(cell, dim=1))


def test_only_the_nearest_are_ranked_anew_and_come_first():
    torch.manual_seed(0)
    network = Diml(SHAPE, (64, 64), 4, 3, 0.05, 100)
    q, r = (F.normalize(torch.randn(n, 5, 8), dim=2).flatten(1) for n in (4, 9))
    found = network.metric(q, r)
    whole = 1 - q[:, :8] @ r[:, :8].T
    for i in range(4):
        near = whole[i].topk(3, largest=False).indices.tolist()
        assert sorted(found[i].topk(3, largest=False).indices.tolist()) == sorted(near)
        for j in range(9):
            if j in near:
                structural = structural_similarity(q[i].view(5, 8), r[j].view(5, 8), 0.05, 100)[0]
                assert float(found[i, j]) == pytest.approx((float(whole[i, j]) + 1 - float(structural)) / 2, abs=1e-5)
        rest = [j for j in range(9) if j not in near]
        assert found[i, rest].argsort().tolist() == whole[i, rest].argsort().tolist()
    torch.testing.assert_close(nearest(q, r, 1, network.metric)[1][:, 0], found.argmin(1))


def test_evidence_weighs_places_and_matches_them():
    network = Diml(SHAPE, (64, 96), 4, 3, 0.05, 50).eval()
    found = network.evidence(*torch.randn(2, 1, 3, 64, 96))
    assert 1 <= len(found.matches) <= 8
    assert all(0 < x < 1 for match in found.matches for x in (*match.first, *match.second))
    assert [m.weight for m in found.matches] == sorted((m.weight for m in found.matches), reverse=True)
    q = network(torch.randn(1, 3, 64, 96))
    assert network.grid == (2, 3)
    assert q.shape == (1, 7 * 8)


def test_more_to_rerank_than_there_are():
    network = Diml(SHAPE, (64, 64), 4, 100, 0.05, 100)
    q, r = (F.normalize(torch.randn(n, 5, 8), dim=2).flatten(1) for n in (4, 9))
    assert float(network.metric(q, r).max()) < 2


def test_a_match_stands_where_its_cells_are():
    """One place of the first image looks like one of the second, and nothing else like anything."""
    network = Diml(SHAPE, (64, 96), 4, 3, 0.01, 200).eval()
    eye = torch.eye(8)
    first = torch.cat([eye[:1], eye[1:2].repeat(6, 1)])
    second = torch.cat([eye[:1], eye[2:3].repeat(6, 1)])
    first[1 + 2] = second[1 + 3] = eye[0]  # row 0, column 2 of 2×3; row 1, column 0
    network.forward = lambda x: torch.cat([first, second]).view(2, -1)
    match = network.evidence(*torch.randn(2, 1, 3, 64, 96)).matches[0]
    assert match.first == pytest.approx((2.5 / 3, 0.25))
    assert match.second == pytest.approx((0.5 / 3, 0.75))


def test_a_map_of_one_cell_is_an_error():
    with pytest.raises(HemlError, match="single cell.*32×32.*enlarge"):
        Diml(SHAPE, (32, 32), 4, 3, 0.05, 50)
