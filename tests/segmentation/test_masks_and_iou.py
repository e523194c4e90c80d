"""Bit-packing there and back, and IoU against a naive loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score

from heml.segmentation.iou import confusion, iou
from heml.segments.masks import pack_mask, unpack_mask


@given(st.integers(1, 19), st.integers(1, 19), st.integers(0, 2**32 - 1))
def test_a_mask_survives_packing(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    packed = pack_mask(mask)
    assert len(packed) == -(-height * width // 8)
    assert (unpack_mask(packed, (height, width)) == mask).all()


def test_an_absent_mask_is_empty_and_the_bit_order_is_the_documented_one():
    assert not unpack_mask(None, (3, 3)).any()
    assert pack_mask(np.array([[True] + [False] * 7])) == b"\x80"


def test_iou_against_scikit_learn():
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 4, (3, 9, 9)), rng.integers(0, 4, (3, 9, 9))
    counts = confusion(guess, truth, 6)
    assert (counts[:4, :4] == confusion_matrix(truth.ravel(), guess.ravel())).all()
    scores = iou(counts)
    assert scores[:4] == pytest.approx(jaccard_score(truth.ravel(), guess.ravel(), average=None))
    assert np.isnan(scores[4:]).all()
