"""Exchanging segments, against images composed pixel by pixel."""

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation
from torch import nn

from heml.distances import bounded_snr
from heml.explanation.contributions import embed_images, exchange, give, shares
from heml.learning.inputs import MEAN, STD


def pair(metric):
    return metric.gallery.view(3), metric.gallery.view(6)


def test_a_segment_is_given_pixel_by_pixel(metric):
    first, second = pair(metric)
    pixels, seen = give(first, second, "left", ["left", "right"])
    for y in range(32):
        for x in range(32):
            if second.masks["left"][y, x]:
                assert seen[y, x]
                assert (pixels[y, x] == second.canvas[y, x]).all()
            else:
                assert seen[y, x] == first.masks["right"][y, x]
                if seen[y, x]:
                    assert (pixels[y, x] == first.canvas[y, x]).all()


def test_images_are_embedded_as_the_stored_ones_were(metric):
    view = metric.gallery.view(3)
    found = embed_images(metric.network("both"), metric.root, [(view.canvas, view.seen(["left", "right"]))])
    torch.testing.assert_close(found[0], view.vectors["both"], atol=1e-5, rtol=1e-4)


def test_effects_are_differences_of_distances(metric):
    first, second = pair(metric)
    network, header = metric.network("both"), metric.root
    x0, y0, x1, y1 = header.box

    def embed(pixels, seen):
        x = (pixels / 255 - np.array(MEAN)) / np.array(STD) * seen[..., None]
        with torch.inference_mode():
            return network(torch.from_numpy(x[y0:y1, x0:x1].transpose(2, 0, 1)[None]).float())[0]

    def distance(a, b):
        return float(bounded_snr(embed(*a), embed(*b)))

    whole = [(v.canvas, v.masks["left"] | v.masks["right"]) for v in (first, second)]
    found = exchange(network, header, first, second)
    for leaf in ("left", "right"):
        a = give(first, second, leaf, header.leaves)
        b = give(second, first, leaf, header.leaves)
        expected = distance(*whole) - (distance(a, whole[1]) + distance(whole[0], b)) / 2
        assert found[leaf] == pytest.approx(expected, abs=1e-5)


def test_the_order_of_the_two_images_does_not_matter(metric):
    first, second = pair(metric)
    one = exchange(metric.network("both"), metric.root, first, second)
    assert exchange(metric.network("both"), metric.root, second, first) == pytest.approx(one, abs=1e-6)


def test_exchanging_the_only_segment_takes_the_whole_distance_away(metric):
    first, second = pair(metric)
    header = metric.headers["left"]
    distance = float(bounded_snr(first.vectors["left"], second.vectors["left"]))
    assert exchange(metric.network("left"), header, first, second)["left"] == pytest.approx(distance, abs=1e-5)


def test_captum_finds_the_same_where_the_two_segments_have_one_outline(metric):
    """Replacing a feature by the other image's pixels is giving its segment, if both lie at the same place: an independent hand."""
    first, second = pair(metric)
    assert (first.masks["left"] == second.masks["left"]).all()
    network, header = metric.network("both"), metric.root
    x0, y0, x1, y1 = header.box
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def prepared(view):
        seen = torch.from_numpy(view.seen(header.leaves)[y0:y1, x0:x1].copy())
        return ((torch.from_numpy(view.canvas[y0:y1, x0:x1].copy()).permute(2, 0, 1) / 255 - mean) / std * seen)[None]

    class Comparison(nn.Module):
        def forward(self, x):
            return bounded_snr(network(x), network(prepared(second)))

    feature = torch.from_numpy(first.masks["left"][y0:y1, x0:x1].astype(np.int64))[None, None]
    effect = FeatureAblation(Comparison()).attribute(prepared(first), baselines=prepared(second), feature_mask=feature)
    at = torch.nonzero(feature[0, 0])[0]
    a, b, c = embed_images(
        network, header, [(v.canvas, v.seen(header.leaves)) for v in (first, second)] + [give(first, second, "left", header.leaves)]
    )
    assert float(effect[0, 0, at[0], at[1]]) == pytest.approx(float(bounded_snr(a, b) - bounded_snr(c, b)), abs=1e-5)


def test_shares_keep_the_order_and_sum_to_the_distance():
    effects = {"a": 0.2, "b": -0.05, "c": 0.0, "d": 0.1}
    found = shares(effects, 0.4, ["a", "b", "d"])
    assert sum(found.values()) == pytest.approx(0.4)
    assert found["c"] == 0
    assert found["a"] - found["d"] == pytest.approx(0.1)
    assert sorted(found, key=found.get)[-1] == "a"
    assert shares({"a": 0.0}, 0.0, []) == {"a": 0.0}
