"""Bayes limits against closed forms, full enumeration and brute-force sampling from the very sampler that draws
avatars."""

import itertools

import numpy as np
import pytest
from conftest import ROOT

from heml.datasets.avatars import load_tables, sample_look
from heml.evaluation.limits import bayes_limit, identity_limit


def test_one_part_is_the_sum_of_larger_joint_probabilities():
    assert bayes_limit([[[0.4, 0.1], [0.1, 0.4], [0, 0]]]) == pytest.approx(0.8)
    assert bayes_limit([[[0.25, 0.25], [0.25, 0.25], [0, 0]]]) == pytest.approx(0.5)


def test_absence_that_knows_nothing_does_not_change_a_leafs_limit():
    present = [[0.4, 0.1], [0.1, 0.4], [0, 0]]
    half = [[0.2, 0.05], [0.05, 0.2], [0.25, 0.25]]
    assert bayes_limit([half]) == pytest.approx(bayes_limit([present]))


def test_a_part_that_is_never_there_has_no_limit():
    with pytest.raises(ValueError, match="never present"):
        bayes_limit([[[0, 0], [0.5, 0.5]]])


@pytest.mark.parametrize("seed", range(5))
def test_several_parts_against_full_enumeration(seed):
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(3):
        joint = rng.dirichlet(np.ones(4), size=2).T * 0.5  # given each label, four looks; the last is "absent"
        parts.append(joint.tolist())
    hit = seen = 0.0
    for looks in itertools.product(range(4), repeat=3):
        if looks == (3, 3, 3):
            continue
        joint = [0.5 * np.prod([parts[i][look][y] / 0.5 for i, look in enumerate(looks)]) for y in (0, 1)]
        hit, seen = hit + max(joint), seen + sum(joint)
    assert bayes_limit(parts) == pytest.approx(hit / seen, abs=1e-9)


@pytest.mark.parametrize("names", [["hair"], ["glasses"], ["facial_hair", "glasses"], ["eyes", "facial_hair", "mouth"]])
def test_against_sampled_avatars(names):
    """Draw 20,000 looks, name the label by the empirical majority of each combination: the accuracy is the limit."""
    tables = load_tables(ROOT / "data" / "avatars.yaml")
    evidence = tables.evidence()
    rng = np.random.default_rng(1)
    counts: dict[tuple, np.ndarray] = {}
    for _ in range(20_000):
        look = sample_look(tables, rng)
        key = tuple(look.colours[name] for name in names)
        if any(colour is not None for colour in key):
            counts.setdefault(key, np.zeros(2))[look.label] += 1
    sampled = sum(c.max() for c in counts.values()) / sum(c.sum() for c in counts.values())
    assert bayes_limit([evidence[name] for name in names]) == pytest.approx(sampled, abs=0.012)


def test_identities_that_look_alike_in_what_is_seen_cannot_be_told_apart():
    """Against draws: the neighbour of an image is any other one that looks the same."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 5)
    hair, beard = [0, 0, 1, 1, 2, 3], [0, 1, -1, -1, 0, 0]
    for looks in ([hair], [hair, beard], [beard], []):
        seen = [tuple(part[label] for part in looks) for label in labels]
        hits = []
        for i in range(len(labels)):
            alike = [j for j in range(len(labels)) if j != i and seen[j] == seen[i]]
            hits += (labels[rng.choice(alike, 400)] == labels[i]).tolist()
        assert identity_limit(looks, labels) == pytest.approx(np.mean(hits), abs=0.02)
    assert identity_limit([hair, beard], labels) == pytest.approx((4 * 1 + 2 * 4 / 9) / 6)
    assert np.isnan(identity_limit([hair], labels[:1]))
