"""Pairs: who is paired with whom, and what they weigh."""

import numpy as np
import torch
from scipy.stats import rankdata

from heml.evaluation.pairing import PER_IMAGE, Pairs, ask, draw_pairs, ranks
from heml.evaluation.retrieval import Search


def test_all_pairs_or_a_draw_of_different_rows():
    rows = np.array([4, 7, 9])
    a, b = draw_pairs(rows, 10)
    assert sorted(zip(a.tolist(), b.tolist(), strict=True)) == [(4, 7), (4, 9), (7, 9)]
    a, b = draw_pairs(np.arange(100), 50)
    assert len(a) == 50
    assert (a != b).all()
    assert not len(draw_pairs(rows[:1], 10)[0])


def test_every_image_asks_equally_often_half_of_it_its_own_label():
    labels = np.arange(400) % 2
    search = Search(np.arange(40), np.arange(40, 400), False)
    a, b = ask(search, labels, most=40 * 20)
    assert np.bincount(a).tolist() == [20] * 40
    assert (b >= 40).all()
    assert (labels[a] == labels[b]).reshape(40, 20).sum(1).tolist() == [10] * 40
    assert len({*zip(a.tolist(), b.tolist(), strict=True)}) == len(a)
    many = ask(search, labels, most=10**9)[0]
    assert np.bincount(many).max() == PER_IMAGE


def test_within_a_split_none_is_paired_with_itself_and_rare_labels_with_all_they_have():
    labels = np.repeat(np.arange(10), 3)
    rows = np.arange(30)
    a, b = ask(Search(rows, rows, True), labels)
    assert (a != b).all()
    assert (labels[a] == labels[b]).sum() == 30 * 2
    assert not len(ask(Search(rows[:0], rows, False), labels)[0])


def test_both_kinds_weigh_one_half():
    same = np.array([True, False, False, True, False])
    pairs = Pairs(np.arange(5), np.arange(5), same, np.zeros((5, 1)))
    weights = pairs.weights()
    np.testing.assert_allclose([weights[same].sum(), weights[~same].sum()], 0.5)
    times = pairs.weights(np.array([2.0, 0, 1, 1, 1]))
    assert times[1] == 0
    assert times[0] == 2 * times[3]
    assert pairs.tell
    assert not Pairs(np.arange(2), np.arange(2), same[:1].repeat(2), np.zeros((2, 1))).tell


def test_ranks_are_shares_of_the_smaller():
    x = torch.tensor([0.3, 0.1, torch.nan, 0.2, 0.1])
    expected = (rankdata(x[[0, 1, 3, 4]].numpy(), method="min") - 1) / 4
    np.testing.assert_allclose(ranks(x)[[0, 1, 3, 4]], expected, atol=1e-6)
    assert ranks(x)[2].isnan()
