"""Nearest images and disagreements, against loops over the stored embeddings."""

import numpy as np
import pytest

from heml.distances import correlation_distance
from heml.errors import HemlError
from heml.explanation.exchange import distances
from heml.explanation.figures import grid_figure
from heml.explanation.neighbours import disagreements, neighbours


def naive(metric, image_id, node, split=None):
    stored = metric.gallery.embeddings[node]
    row = metric.gallery.row(image_id)
    others = [
        j for j in range(len(stored.image_ids)) if j != row and stored.present[j] and split in (None, stored.splits[j])
    ]
    return sorted((float(correlation_distance(stored.vectors[row], stored.vectors[j])), j) for j in others)


@pytest.mark.parametrize("split", [None, "train"])
def test_the_nearest_are_those_of_a_loop_without_the_image_itself(metric, split):
    found = neighbours(metric.gallery.find("i003"), metric.gallery, "right", 5, split)
    expected = naive(metric, "i003", "right", split)
    assert [n.distance for n in found] == pytest.approx([d for d, _ in expected[:5]], abs=1e-6)
    assert "i003" not in [n.image_id for n in found]
    assert found[0].label == metric.gallery.embeddings["right"].labels[found[0].row]
    everything = neighbours(metric.gallery.find("i003"), metric.gallery, "right", 100, split)
    assert len(everything) == len(expected)


def test_the_nearest_by_the_tree_are_those_of_its_distance(metric):
    view = metric.gallery.find("i003")
    others = [row for row in range(len(metric.gallery.canvases.image_ids)) if row != 3]
    by_hand = sorted(
        (float(metric.metric.distance(distances(view, metric.gallery.view(row), metric.metric))), row) for row in others
    )
    found = neighbours(view, metric.gallery, metric.metric, 5)
    assert [n.distance for n in found] == pytest.approx([d for d, _ in by_hand[:5]], abs=1e-5)
    assert {n.split for n in neighbours(view, metric.gallery, metric.metric, 50, "val")} == {"val"}


def test_an_image_without_the_node_is_told(metric):
    with pytest.raises(HemlError, match="i005: shows nothing of 'right'"):
        neighbours(metric.gallery.find("i005"), metric.gallery, "right", 5)


def test_disagreements_are_the_largest_gaps_between_percentiles(metric):
    view = metric.gallery.find("i003")
    found = disagreements(view, metric.gallery, ["left", "right"], 5)
    assert [(d.near, d.far) for d in found].count(("left", "right")) == 1
    assert len(found) == 2
    places = {}
    for node in ("left", "right"):
        loop = naive(metric, "i003", node)
        distances = np.array([d for d, _ in loop])
        places[node] = {j: 100 * (distances < d - 1e-9).mean() for d, j in loop}
    for d in found:
        both = places[d.near].keys() & places[d.far].keys()
        best = max(places[d.far][j] - places[d.near][j] for j in both)
        assert d.ranks[1] - d.ranks[0] == pytest.approx(best, abs=3)
    assert disagreements(metric.gallery.find("i005"), metric.gallery, ["left", "right"], 5) == []


def test_the_grid_shows_every_picture_and_frames_right_and_wrong():
    picture = np.zeros((8, 12, 3), np.uint8)
    figure = grid_figure("near", [(picture, "a", None), (picture, "b $x$", True), (picture, "c", False)], across=2)
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 0]
    assert [len(axis.patches) for axis in figure.axes] == [0, 1, 1, 0]
    figure.savefig("/dev/null", format="png")
