"""Exchanging segments, against images composed pixel by pixel."""

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation
from torch import nn

from heml.distances import correlation_distance
from heml.evaluation.tree_metric import Term, TreeMetric
from heml.explanation.exchange import counterfactual, distances, embed_images, exchange, give, shares
from heml.images.imagenet import MEAN, STD

NAMES = ["left", "right", "both"]


def pair(metric):
    return metric.gallery.view(3), metric.gallery.view(6)


def weighing(metric, **slopes):
    """The run's tree with these slopes, 0 for others."""
    total = sum(slopes.values())
    terms = {
        n: Term(slopes.get(n, 0) / total, 0, 1, slopes.get(n, 0), metric.metric.terms[n].threshold, [])
        for n in metric.tree.nodes
    }
    return TreeMetric(terms, "learned", None, [])


def test_a_segment_is_given_pixel_by_pixel(metric):
    first, second = pair(metric)
    given = give(first, second, ["left"])
    for y in range(32):
        for x in range(32):
            hidden = second.masks["left"][y, x]
            assert (given.canvas[y, x] == (second if hidden else first).canvas[y, x]).all()
            assert given.masks["left"][y, x] == hidden
            assert given.masks["right"][y, x] == (first.masks["right"][y, x] and not hidden)


def test_images_are_embedded_as_the_stored_ones_were_and_what_shows_nothing_is_absent(metric):
    view = metric.gallery.view(3)
    nothing = np.zeros_like(view.masks["left"])
    found = embed_images(
        metric.network("both"), metric.root, [(view.canvas, view.seen(["left", "right"])), (view.canvas, nothing)]
    )
    torch.testing.assert_close(found[0], view.vectors["both"], atol=1e-5, rtol=1e-4)
    assert found[1].isnan().all()


def by_hand(metric, of_tree, first, second, leaf):
    """The rise of the log-odds, a node and a direction at a time."""

    def embed(node, view):
        header = metric.headers[node]
        x0, y0, x1, y1 = header.box
        x = (view.canvas / 255 - np.array(MEAN)) / np.array(STD) * view.seen(header.leaves)[..., None]
        with torch.inference_mode():
            return metric.network(node)(torch.from_numpy(x[y0:y1, x0:x1].transpose(2, 0, 1)[None]).float())[0]

    rise = 0.0
    for one, other in ((first, second), (second, first)):
        given = give(one, other, [leaf])
        for node in metric.tree.nodes:
            if leaf in metric.tree.leaves(node):
                before = float(correlation_distance(embed(node, one), embed(node, other)))
                after = float(correlation_distance(embed(node, given), embed(node, other)))
                rise += of_tree.terms[node].slope * (before - after) / 2
    return rise


def test_effects_are_differences_of_log_odds_over_all_nodes_that_hold_the_segment(metric):
    first, second = pair(metric)
    of_tree = weighing(metric, left=3.0, right=2.0, both=5.0)
    found = exchange(first, second, metric.tree, of_tree, metric.made)
    for leaf in ("left", "right"):
        assert found[leaf] == pytest.approx(by_hand(metric, of_tree, first, second, leaf), abs=1e-4)
    assert exchange(second, first, metric.tree, of_tree, metric.made) == pytest.approx(found, abs=1e-6)


def test_an_absent_segment_that_is_given_begins_to_speak(metric):
    lacking, having = metric.gallery.find("i005"), metric.gallery.find("i003")
    of_tree = weighing(metric, right=4.0)
    assert not lacking.has("right")
    found = exchange(lacking, having, metric.tree, of_tree, metric.made)
    # the same part in both, in one of the two directions; gone in the other
    expected = 4.0 * of_tree.terms["right"].threshold / 2
    assert found["right"] == pytest.approx(expected, abs=1e-5)


def test_exchanging_the_only_segment_takes_the_whole_distance_away(metric):
    first, second = pair(metric)
    distance = float(correlation_distance(first.vectors["left"], second.vectors["left"]))
    found = exchange(first, second, metric.tree, weighing(metric, left=7.0), metric.made)
    assert found["left"] == pytest.approx(7 * distance, abs=1e-4)
    assert found["right"] == 0


def test_captum_finds_the_same_where_the_two_segments_have_one_outline(metric):
    """Replacing a feature by the other image's pixels is giving its segment, if both lie at the same place: an
    independent hand."""
    first, second = pair(metric)
    assert (first.masks["left"] == second.masks["left"]).all()
    network, header = metric.network("both"), metric.root
    x0, y0, x1, y1 = header.box
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def prepared(view):
        seen = torch.from_numpy(view.seen(header.leaves)[y0:y1, x0:x1].copy())
        return ((torch.from_numpy(view.canvas[y0:y1, x0:x1].copy()).permute(2, 0, 1) / 255 - mean) / std * seen)[None]

    class Comparison(nn.Module):
        def __init__(self, other):
            super().__init__()
            self.other = other

        def forward(self, x):
            return correlation_distance(network(x), network(self.other))

    feature = torch.from_numpy(first.masks["left"][y0:y1, x0:x1].astype(np.int64))[None, None]
    at = torch.nonzero(feature[0, 0])[0]
    effects = []
    for one, other in ((first, second), (second, first)):
        found = FeatureAblation(Comparison(prepared(other))).attribute(
            prepared(one), baselines=prepared(other), feature_mask=feature
        )
        effects.append(float(found[0, 0, at[0], at[1]]))
    ours = exchange(first, second, metric.tree, weighing(metric, both=1.0), metric.made)
    assert ours["left"] == pytest.approx(np.mean(effects), abs=1e-5)


def test_shares_keep_the_order_and_sum_to_the_log_odds():
    effects = {"a": 2.0, "b": -0.5, "c": 0.0, "d": 1.0}
    found = shares(effects, -0.4, ["a", "b", "d"])
    assert sum(found.values()) == pytest.approx(-0.4)
    assert found["c"] == 0
    assert found["a"] - found["d"] == pytest.approx(-1.0)
    assert min(found, key=found.get) == "a"
    assert shares({"a": 0.0}, 0.0, []) == {"a": 0.0}


def odds(of_tree, first, second):
    return float(of_tree.log_odds(distances(first, second, of_tree)))


def test_a_counterfactual_turns_the_decision_by_the_networks_and_none_smaller_does(metric):
    of_tree, found = metric.metric, None
    for row in range(40):
        first, second = metric.gallery.view(row), metric.gallery.view(row + 5)
        before = odds(of_tree, first, second)
        if before >= 0:
            continue
        found = counterfactual(first, second, second, metric.tree, of_tree, metric.made)
        if found is None:
            continue
        image = found.image
        assert (image.canvas == give(first, second, found.segments).canvas).all()
        embedded = {n: metric.made(n, [(image.canvas, image.seen(metric.tree.leaves(n)))])[0] for n in NAMES}
        for name, vector in embedded.items():
            torch.testing.assert_close(image.vectors[name], vector, equal_nan=True, atol=1e-5, rtol=1e-4)
        assert odds(of_tree, image, second) == pytest.approx(found.log_odds, abs=1e-5)
        assert found.log_odds > 0
        if len(found.segments) == 1:
            return
        for leaf in found.segments:  # one alone is not enough
            one = give(first, second, [leaf])
            one_vectors = {n: metric.made(n, [(one.canvas, one.seen(metric.tree.leaves(n)))])[0] for n in NAMES}
            assert odds(of_tree, type(first)("one", one.canvas, one.masks, one_vectors), second) <= 0
        return
    pytest.fail("no pair that the tree calls different was turned")


def test_two_that_are_the_same_are_turned_by_a_third(metric):
    for row in range(40):
        first, second = metric.gallery.view(row), metric.gallery.view(row + 2)
        if odds(metric.metric, first, second) > 0:
            foil = metric.gallery.foil(first, second, metric.metric)
            assert foil is not None
            assert odds(metric.metric, foil, second) < 0
            found = metric.counterfactual(first, second)
            if found is not None:
                assert found.donor.name == foil.name
                assert found.log_odds <= 0
                return
    pytest.fail("no pair that the tree calls the same was turned")
