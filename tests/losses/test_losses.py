"""Every loss against a naive loop or a closed form written from its paper."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from heml import params
from heml.errors import HemlError
from heml.learning.objectives import objective
from heml.learning.pml_distances import training_distance
from heml.losses import catalogue
from heml.params import Train

LOSSES = catalogue()
LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
B, D, C = 10, 6, 3


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(0)
    return F.normalize(torch.randn(B, D, dtype=torch.float64), dim=1).requires_grad_()


def make(**settings):
    return objective(Train(embedding_dim=D, **settings), C)


def pair_distance(name: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    if name == "snr":
        return (a - b).var() / a.var()
    if name == "cosine":
        return 1 - a @ b
    return (a - b).abs().sum() if name == "l1" else (a - b).norm()


def triplets():
    for a, p, n in itertools.product(range(B), repeat=3):
        if a != p and LABELS[a] == LABELS[p] and LABELS[a] != LABELS[n]:
            yield a, p, n


def mean_positive(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([v for v in values if v > 0]).mean()


@pytest.mark.parametrize("distance", ["euclidean", "snr", "cosine", "l1"])
@pytest.mark.parametrize("miner", ["all", "semihard", "hard"])
def test_triplet_margin(x, distance, miner):
    kept = []
    for a, p, n in triplets():
        positive, negative = pair_distance(distance, x[a], x[p]), pair_distance(distance, x[a], x[n])
        gap = (negative - positive).item()
        if {"all": gap <= 0.3, "semihard": 0 < gap <= 0.3, "hard": gap <= 0}[miner]:
            kept.append(torch.relu(positive - negative + 0.3))
    value, mined = make(loss="triplet_margin", miner=miner, margin=0.3, distance=distance)(x, LABELS)
    assert mined == len(kept)
    assert value.item() == pytest.approx(mean_positive(kept).item(), rel=1e-6)


def test_snr_adds_the_zero_mean_regulariser(x):
    plain, _ = make(loss="triplet_margin", miner="all", distance="snr", margin=0.2)(x, LABELS)
    value, _ = make(loss="snr", miner="all", margin=0.2, loss_options={"regularizer": 0.4})(x, LABELS)
    assert value.item() == pytest.approx((plain + 0.4 * x.sum(1).abs().mean()).item(), rel=1e-6)


def test_batch_hard_triplet(x):
    d = torch.cdist(x, x)
    same = LABELS[:, None] == LABELS
    farthest = torch.stack([d[i][same[i]].max() for i in range(B)])
    nearest = torch.stack([d[i][~same[i]].min() for i in range(B)])
    value, mined = make(loss="batch_hard_triplet", margin=0.5)(x, LABELS)
    assert mined == B
    assert value.item() == pytest.approx(mean_positive(list(farthest - nearest + 0.5)).item(), rel=1e-6)


def test_contrastive(x):
    pairs = list(itertools.permutations(range(B), 2))
    positive = [torch.relu((x[i] - x[j]).norm() - 0.2) for i, j in pairs if LABELS[i] == LABELS[j]]
    negative = [torch.relu(0.9 - (x[i] - x[j]).norm()) for i, j in pairs if LABELS[i] != LABELS[j]]
    value, _ = make(loss="contrastive", loss_options={"pos_margin": 0.2, "neg_margin": 0.9})(x, LABELS)
    assert value.item() == pytest.approx((mean_positive(positive) + mean_positive(negative)).item(), rel=1e-6)


def test_margin_learns_a_beta_per_class(x):
    aim = make(loss="margin", miner="none", loss_options={"beta": 1.1})
    beta = aim.parameters()[0]
    assert beta.shape == (C,)
    with torch.no_grad():
        beta.copy_(torch.tensor([0.9, 1.1, 1.3]))
    parts = []
    for a, p, n in triplets():
        b = beta[LABELS[a]].double()
        parts += [torch.relu((x[a] - x[p]).norm() - b + 0.2), torch.relu(b - (x[a] - x[n]).norm() + 0.2)]
    value, _ = aim(x, LABELS)
    assert value.item() == pytest.approx(mean_positive(parts).item(), rel=1e-5)
    value.backward()
    assert beta.grad.abs().sum() > 0


def test_angular(x):
    tangent = math.tan(math.radians(35)) ** 2
    parts = []
    for a, p in itertools.permutations(range(B), 2):
        if LABELS[a] != LABELS[p]:
            continue
        terms = [
            4 * tangent * ((x[a] + x[p]) @ x[n]) - 2 * (1 + tangent) * (x[a] @ x[p])
            for n in range(B)
            if LABELS[n] != LABELS[a]
        ]
        parts.append(torch.log(1 + torch.stack(terms).exp().sum()))
    value, _ = make(loss="angular", loss_options={"alpha": 35})(x, LABELS)
    assert value.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)


@pytest.mark.parametrize("miner", ["none", "multi_similarity"])
def test_multi_similarity(x, miner):
    s = x @ x.T
    parts = []
    for i in range(B):
        positive = [j for j in range(B) if j != i and LABELS[j] == LABELS[i]]
        negative = [j for j in range(B) if LABELS[j] != LABELS[i]]
        if miner == "multi_similarity":
            hardest_p, hardest_n = min(s[i, j] for j in positive), max(s[i, j] for j in negative)
            positive = [j for j in positive if s[i, j] - 0.1 < hardest_n]
            negative = [j for j in negative if s[i, j] + 0.1 > hardest_p]
        plus = torch.log(1 + sum(torch.exp(-2 * (s[i, j] - 0.5)) for j in positive)) / 2 if positive else 0 * s[0, 0]
        minus = torch.log(1 + sum(torch.exp(50 * (s[i, j] - 0.5)) for j in negative)) / 50 if negative else 0 * s[0, 0]
        parts.append(plus + minus)
    value, _ = make(loss="multi_similarity", miner=miner)(x, LABELS)
    assert value.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)


def test_ntxent(x):
    s = x @ x.T / 0.2
    parts = []
    for i, j in itertools.permutations(range(B), 2):
        if LABELS[i] == LABELS[j]:
            others = torch.stack([s[i, k] for k in range(B) if LABELS[k] != LABELS[i]])
            parts.append(torch.logsumexp(torch.cat([s[i, j : j + 1], others]), 0) - s[i, j])
    value, _ = make(loss="ntxent", loss_options={"temperature": 0.2})(x, LABELS)
    assert value.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)


def test_circle(x):
    m, gamma = 0.3, 20.0
    s = x @ x.T
    parts = []
    for i in range(B):
        positive = [s[i, j] for j in range(B) if j != i and LABELS[j] == LABELS[i]]
        negative = [s[i, j] for j in range(B) if LABELS[j] != LABELS[i]]
        plus = torch.stack([-gamma * torch.relu(1 + m - v.detach()) * (v - (1 - m)) for v in positive])
        minus = torch.stack([gamma * torch.relu(v.detach() + m) * (v - m) for v in negative])
        parts.append(F.softplus(torch.logsumexp(plus, 0) + torch.logsumexp(minus, 0)))
    value, _ = make(loss="circle", loss_options={"relaxation": m, "scale": gamma})(x, LABELS)
    assert value.item() == pytest.approx(mean_positive(parts).item(), rel=1e-5)


def test_proxy_anchor(x):
    aim = make(loss="proxy_anchor", margin=0.2, loss_options={"alpha": 16})
    s = x @ F.normalize(aim.parameters()[0].double(), dim=1).T
    plus = [torch.log(1 + sum(torch.exp(-16 * (s[i, c] - 0.2)) for i in range(B) if LABELS[i] == c)) for c in range(C)]
    minus = [torch.log(1 + sum(torch.exp(16 * (s[i, c] + 0.2)) for i in range(B) if LABELS[i] != c)) for c in range(C)]
    value, _ = aim(x, LABELS)
    assert value.item() == pytest.approx((sum(plus) / C + sum(minus) / C).item(), rel=1e-5)


def test_subcenter_arcface(x):
    aim = make(loss="subcenter_arcface", loss_options={"angle": 20, "scale": 8, "sub_centers": 2})
    centres = F.normalize(aim.parameters()[0].double(), dim=0)  # (D, classes · sub-centres)
    cosine = (x @ centres).view(B, C, 2).amax(2)
    angle = torch.acos(cosine)
    logits = torch.stack(
        [torch.where(torch.arange(C) == LABELS[i], torch.cos(angle[i] + math.radians(20)), cosine[i]) for i in range(B)]
    )
    value, _ = aim(x, LABELS)
    assert value.item() == pytest.approx(F.cross_entropy(8 * logits, LABELS).item(), rel=1e-4)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_has_a_gradient_and_its_own_weights_learn(name, x):
    torch.manual_seed(1)
    aim = make(loss=name, margin=0.6, miner="all" if "all" in LOSSES[name].miners else None)
    value, _ = aim(x.float(), LABELS)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in aim.parameters())
    assert bool(aim.parameters()) == (name in ("margin", "proxy_anchor", "subcenter_arcface", "group"))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_batch_of_one_class_gives_no_nan(name):
    x = F.normalize(torch.randn(4, D), dim=1).requires_grad_()
    value, mined = make(loss=name)(x, torch.zeros(4, dtype=torch.long))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()
    if LOSSES[name].miners[0] not in ("none", "multi_similarity"):
        assert mined == 0


def test_names_and_options_are_those_of_the_parameters():
    assert {name: dict(loss.options) for name, loss in LOSSES.items()} == params.LOSSES
    assert all(set(entry.miners) <= set(params.MINERS) for entry in LOSSES.values())
    for entry in LOSSES.values():
        for distance in entry.distances:
            if distance != "l<p>":
                assert training_distance(distance)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss": "ntxent", "distance": "snr"}, "compares under cosine"),
        ({"loss": "proxy_anchor", "miner": "semihard"}, "choose from none"),
        ({"loss": "snr", "miner": "angular"}, "choose from"),
    ],
)
def test_what_does_not_go_together_is_said(settings, said):
    with pytest.raises(HemlError, match=said):
        make(**settings)
