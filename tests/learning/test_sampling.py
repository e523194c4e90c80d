"""P×K batches by their definition."""

from collections import Counter

import numpy as np
import pytest
from pytorch_metric_learning.samplers.m_per_class_sampler import MPerClassSampler

from heml.learning.sampling import pk_batches


def test_batches_hold_k_of_each_class_even_of_a_rare_one():
    labels = np.array([0] * 60 + [1] * 3 + [2] * 20)
    for seed in range(3):
        batches = list(pk_batches(labels, 12, 4, seed))
        assert len(batches) == 6
        for batch in batches:
            assert Counter(labels[batch].tolist()) == {0: 4, 1: 4, 2: 4}
    assert [b.tolist() for b in pk_batches(labels, 12, 4, 0)] == [b.tolist() for b in pk_batches(labels, 12, 4, 0)]
    two = list(pk_batches(labels[:63], 32, 8, 0))
    assert all(Counter(labels[b].tolist()) == {0: 16, 1: 16} for b in two)


def check_batches(labels, batch_size, per_class, epochs):
    """By the definition: P distinct classes of K images each, none twice unless its class has fewer.

    Returns:
        How often each image came in each epoch, (epochs, N).
    """
    sizes = np.bincount(labels)
    p = min(batch_size // per_class, np.count_nonzero(sizes))
    k = -(-batch_size // p)
    seen = np.zeros((epochs, len(labels)), int)
    for epoch in range(epochs):
        batches = list(pk_batches(labels, batch_size, per_class, epoch))
        assert len(batches) == max(len(labels) // batch_size, 1)
        for batch in batches:
            found = Counter(labels[batch].tolist())
            assert len(found) == p
            assert set(found.values()) == {k}
            for label in found:
                most = max(Counter(batch[labels[batch] == label].tolist()).values())
                assert most == -(-k // sizes[label])
            np.add.at(seen[epoch], batch, 1)
    return seen


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 40, 100])
def test_every_batch_has_p_classes_of_k_images_and_every_image_comes_equally_often(classes):
    labels = np.arange(600) % classes
    seen = check_batches(labels, 32, 8, 40)
    assert seen.sum(0).min() > 0.4 * seen.mean() * 40
    assert seen.sum(0).max() < 1.6 * seen.mean() * 40
    p = min(4, classes)
    for epoch in seen:
        turns = np.bincount(labels, weights=epoch) / -(-32 // p)
        assert set(turns) <= {18 * p // classes, -(-18 * p // classes)}
        if classes not in (2, 100):  # the library draws anew for every batch; six images of a class are fewer than K
            assert epoch.max() - epoch.min() <= 2


def test_classes_come_in_proportion_to_their_images_at_most_in_every_batch():
    labels = np.repeat(np.arange(6), [300, 150, 100, 3, 46, 1])
    epochs = check_batches(labels, 16, 8, 30)
    drawn = np.bincount(labels, weights=epochs.sum(0))
    assert drawn / drawn.sum() == pytest.approx([0.5, 0.25, 1 / 6, 0.0135, 0.077, 0.002], abs=0.015)
    assert epochs[:, labels == 3].any(1).all()  # of two images or more: in every epoch
    ruled = np.repeat(np.arange(5), [1000, 10, 10, 10, 10])
    drawn = np.bincount(ruled, weights=check_batches(ruled, 32, 8, 30).sum(0))
    assert drawn[0] == 30 * 32 * 8
    assert drawn[1:] == pytest.approx(30 * 32 * 8 * 3 / 4, rel=0.02)


def test_where_there_is_no_room_for_all_classes_chance_gives_each_its_share():
    # 1,000 images, 31 batches of 8: 248 turns for 400 classes
    labels = np.repeat(np.arange(400), [2] * 200 + [3] * 200)
    drawn = np.bincount(labels, weights=check_batches(labels, 32, 4, 60).sum(0))
    assert drawn[:200].sum() / drawn[200:].sum() == pytest.approx(2 / 3, abs=0.02)
    assert drawn.min() > 0


def test_fewer_images_than_a_batch_still_fill_it():
    check_batches(np.repeat(np.arange(12), 2), 32, 8, 3)
    check_batches(np.repeat(np.arange(3), [2, 5, 1]), 32, 8, 3)


@pytest.mark.parametrize("classes", [2, 4])
def test_batches_of_all_classes_are_the_librarys(classes):
    labels = np.random.default_rng(0).integers(0, classes, 600)
    np.random.seed(7)  # noqa: NPY002 (the sampler draws from NumPy's global state)
    expected = list(MPerClassSampler(labels, 32 // classes, batch_size=None, length_before_new_iter=576))
    assert np.concatenate(list(pk_batches(labels, 32, 8, 7))).tolist() == expected


def shares(sizes, p, batches):
    """By filling one class after the other: turns per epoch in proportion to the images, at least 1 and at most one a
    batch."""
    turns = {c: 0.0 for c in range(len(sizes))}
    free, left = set(turns), float(p * batches)
    while free:
        each = left / sum(sizes[c] for c in free)
        bound = {c: batches if each * sizes[c] > batches else 1 for c in free if not 1 <= each * sizes[c] <= batches}
        over = sum(each * sizes[c] - bound[c] for c in bound)  # what the bounds set free, or ask of the others
        settled = {c: v for c, v in bound.items() if (v == batches) == (over >= 0)} or {
            c: each * sizes[c] for c in free
        }
        for c, v in settled.items():
            turns[c] = v
            free.discard(c)
            left -= v
    return np.array([turns[c] for c in range(len(sizes))])


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_class_comes_as_often_as_its_share_asks(classes, seed):
    """Classes of 2 to 60 images, so that some have fewer than K, in batches of P = 4 classes of K = 8."""
    sizes = np.random.default_rng(seed).integers(2, 60, classes)
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), sizes))
    epochs = 60
    seen = check_batches(labels, 32, 8, epochs)
    p = min(4, classes)
    turns = np.bincount(labels, weights=seen.sum(0), minlength=classes) / -(-32 // p) / epochs
    expected = shares(sizes.tolist(), p, max(len(labels) // 32, 1))
    assert turns == pytest.approx(expected, abs=0.3)
    assert turns.sum() == pytest.approx(expected.sum())
