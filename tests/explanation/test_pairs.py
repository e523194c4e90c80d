"""The tree of distances of a pair."""

import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from small_tree import TREE, embeddings

from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.tree_metric import Term, TreeMetric
from heml.explanation.drawing import (
    ALIKE,
    APART,
    FULL_EDGE,
    pair_svg,
    positions,
    segment_pictures,
    to_png,
    write_explanation,
)
from heml.explanation.pairs import Explanation, digits, explain, signed
from heml.explanation.views import View
from heml.tree import Node, Tree

SVG = "{http://www.w3.org/2000/svg}"


def view(stored: dict[str, NodeEmbeddings], row: int) -> View:
    rng = np.random.default_rng(row)
    masks = {leaf: rng.random((12, 8)) < 0.5 * stored[leaf].present[row] for leaf in ("a", "b")}
    vectors = {name: node.vectors[row] for name, node in stored.items()}
    return View(f"i{row}", rng.integers(0, 256, (12, 8, 3), dtype=np.uint8), masks, vectors)


QUANTILES = [k / 100 for k in range(101)]
METRIC = TreeMetric(
    {name: Term(w, w, w, 10 * w, t, QUANTILES) for name, w, t in (("a", 0.5, 0.4), ("b", 0.2, 0.6), ("ab", 0.3, 0.5))},
    "learned",
    0.1,
    [],
)


def explained(first: int, second: int, **options) -> Explanation:
    stored = embeddings()
    return explain(view(stored, first), view(stored, second), TREE, METRIC, **options)


def test_distance_and_absence_at_every_node():
    stored, explanation = embeddings(), explained(1, 5)
    expected = (1 - np.corrcoef(stored["a"].vectors[1], stored["a"].vectors[5])[0, 1]) / 2
    assert explanation.nodes["a"].distance == pytest.approx(expected, rel=1e-5)
    assert explanation.nodes["a"].similarity == pytest.approx(1 - expected, rel=1e-5)
    assert explanation.nodes["a"].percentile == pytest.approx(100 * expected, abs=1e-3)
    assert np.isnan(explanation.nodes["b"].distance)
    assert explanation.nodes["b"].evidence == 0
    assert "b  absent in the second" in str(explanation)
    assert "b  absent in the first" in str(explained(5, 1))
    assert "absent in both" in str(explained(0, 5))
    assert f"(distance {digits(expected)}" in str(explanation)


def test_a_speck_is_called_one_and_nothing_is_none():
    stored = embeddings()
    first, second = view(stored, 1), view(stored, 3)
    speck = np.zeros_like(first.masks["b"])
    speck[2, 3:6] = True
    found = explain(replace(first, masks={"a": first.masks["a"], "b": speck}), second, TREE, METRIC)
    assert found.nodes["b"].pixels == (3, int(second.masks["b"].sum()))
    assert "a speck of 3 pixels, too small to be told apart" in str(found.nodes["b"])
    assert "speck" not in str(found.nodes["a"])
    assert "speck" not in str(explained(1, 5).nodes["b"])
    assert found.to_dict()["nodes"]["b"]["pixels"][0] == 3


def test_a_node_of_weight_0_says_so():
    stored = embeddings()
    silent = replace(METRIC, terms=METRIC.terms | {"b": replace(METRIC.terms["b"], weight=0.0, slope=0.0)})
    found = explain(view(stored, 1), view(stored, 3), TREE, silent)
    assert str(found.nodes["b"]).startswith("0.00  (distance ")
    assert str(found.nodes["b"]).endswith("; weight 0)")
    assert "weight" not in str(found.nodes["a"])
    assert found.to_dict()["nodes"]["b"]["weight"] == 0
    assert found.to_dict()["nodes"]["a"]["weight"] == pytest.approx(METRIC.terms["a"].weight, abs=1e-6)


@pytest.mark.parametrize("rows", [(1, 3), (1, 5), (0, 5), (2, 9), (7, 7)])
def test_evidence_sums_to_the_log_odds_and_up_the_tree(rows):
    found = explained(*rows)
    assert sum(node.evidence for node in found.nodes.values()) == pytest.approx(found.log_odds, abs=1e-9)
    assert found.nodes["ab"].subtree == pytest.approx(found.log_odds, abs=1e-9)
    assert found.log_odds == pytest.approx(METRIC.slope * (METRIC.threshold - found.distance), abs=1e-6)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-found.log_odds)))
    assert found.decision == ("same" if found.log_odds > 0 else "different")
    for name, node in found.nodes.items():
        expected = (
            0 if np.isnan(node.distance) else METRIC.terms[name].slope * (METRIC.terms[name].threshold - node.distance)
        )
        assert node.evidence == pytest.approx(expected)


def test_a_node_speaks_by_its_own_term_whatever_order_they_stand_in():
    stored, found = embeddings(), explained(1, 3, effects={"a": 0.3, "b": -0.1})
    turned = replace(METRIC, terms=dict(reversed(METRIC.terms.items())))
    other = explain(view(stored, 1), view(stored, 3), TREE, turned, {"a": 0.3, "b": -0.1})
    assert other.nodes == found.nodes
    assert other.log_odds == pytest.approx(found.log_odds, abs=1e-12)
    assert other.distance == pytest.approx(found.distance, abs=1e-12)


def test_shares_sum_to_the_log_odds():
    found = explained(1, 3, effects={"a": 0.3, "b": -0.1})
    assert found.nodes["a"].share + found.nodes["b"].share == pytest.approx(found.log_odds)
    assert found.nodes["b"].share - found.nodes["a"].share == pytest.approx(0.4)
    assert found.nodes["ab"].share == pytest.approx(found.log_odds)
    only = explained(0, 5, effects={"a": 0.3, "b": 0.0})  # neither shows b
    assert only.nodes["b"].share == 0
    assert only.nodes["a"].share == pytest.approx(only.log_odds)
    assert np.isnan(explained(1, 3).nodes["a"].share)


def test_the_sentence_names_the_decision_and_the_part_that_says_most():
    found = explained(1, 3, effects={"a": 5.0, "b": 0.0})
    shift = found.log_odds
    side = "different" if shift < 0 else "same"
    parts = {name: found.nodes[name].share for name in ("a", "b")}
    speaking = {name: value for name, value in parts.items() if (value > 0) == (shift > 0)}
    best = max(speaking, key=lambda name: abs(speaking[name]))
    share = 100 * abs(speaking[best]) / sum(map(abs, speaking.values()))
    against = "against" if side == "different" else "for"
    sure = round(100 * max(found.probability, 1 - found.probability))
    how = "mostly" if share > 50 else "above all"
    assert (
        found.sentence
        == f"{side.capitalize()} ({sure} %), {how} because of {best}: {share:.0f} % of the evidence {against} it."
    )
    assert str(found).splitlines()[0] == f"i1 and i3: {found.sentence}"
    assert str(found).splitlines()[1].startswith(signed(found.log_odds))


def test_certainty_is_never_said_to_be_whole():
    certain = TreeMetric(
        {name: replace(term, slope=1e4, threshold=1.0) for name, term in METRIC.terms.items()}, "learned", 0.1, []
    )
    stored = embeddings()
    assert "(99 %)" in explain(view(stored, 1), view(stored, 3), TREE, certain).sentence


def test_other_distances_on_request():
    stored, found = embeddings(), explained(1, 3, distances=["euclidean", "l1"]).nodes["a"]
    a, b = stored["a"].vectors[1], stored["a"].vectors[3]
    assert found.others == pytest.approx(
        {"euclidean": float((a - b).norm()), "l1": float((a - b).abs().sum())}, rel=1e-4
    )


def test_json_has_every_node_and_null_for_what_is_unknown():
    found = json.loads(json.dumps(explained(1, 5, effects={"a": 0.1, "b": 0.2}).to_dict(), allow_nan=False))
    assert set(found["nodes"]) == {"a", "b", "ab"}
    assert found["nodes"]["b"]["distance"] is None
    assert found["nodes"]["b"]["present"] == [True, False]
    assert found["nodes"]["ab"]["children"] == ["a", "b"]
    assert found["root"] == "ab"
    assert 0 <= found["nodes"]["a"]["percentile"] <= 100
    assert sum(node["evidence"] for node in found["nodes"].values()) == pytest.approx(found["log_odds"], abs=1e-6)
    assert found["sentence"].startswith(found["decision"].capitalize())


def test_small_distances_have_a_digit_more():
    assert [digits(d) for d in (0.0994, 0.1, 0.456, 0.0)] == ["0.099", "0.10", "0.46", "0.000"]


def test_the_figure_has_both_pictures_of_every_node_and_edges_as_thick_as_the_evidence_below():
    explanation = explained(1, 5, effects={"a": 0.4, "b": -0.1})
    drawing = ElementTree.fromstring(
        pair_svg(explanation, segment_pictures(explanation, dict.fromkeys(TREE.nodes, (0, 0, 8, 12))))
    )
    assert len(list(drawing.iter(f"{SVG}image"))) == 6
    assert {"a", "b", "ab", "absent"} <= {text.text for text in drawing.iter(f"{SVG}text")}
    assert signed(explanation.nodes["a"].evidence) in {text.text for text in drawing.iter(f"{SVG}text")}
    drawn = [
        (line.get("stroke"), float(line.get("stroke-width")))
        for line in drawing.iter(f"{SVG}path")
        if line.get("stroke") in (APART, ALIKE)
    ]
    below = explanation.nodes["a"].subtree  # `b` is absent: its edge is grey
    assert drawn == [(ALIKE if below > 0 else APART, pytest.approx(1 + 10 * min(abs(below) / FULL_EDGE, 1), abs=0.01))]


def test_names_are_drawn_as_they_are_whatever_they_hold():
    stored = embeddings()
    names = ('a$_ <b>&"', "b\x01\n猫")
    first, second = (replace(view(stored, row), name=name) for row, name in zip((1, 3), names, strict=True))
    explanation = explain(first, second, TREE, METRIC)
    svg = pair_svg(explanation, segment_pictures(explanation, dict.fromkeys(TREE.nodes, (0, 0, 8, 12))))
    told = [line.text for line in ElementTree.fromstring(svg).iter(f"{SVG}tspan")]
    assert told[0] == 'a$_ <b>&" and b\ufffd\ufffd猫'
    assert to_png(svg).startswith(b"\x89PNG")


def test_a_drawing_has_letters_and_the_segments_own_pixels():
    """Rendered again without text it is another picture; where a node's picture stands, its pixels are."""
    explanation = explained(1, 5)
    pictures = {name: (np.full((12, 8, 3), 200 - 9 * k, np.uint8),) * 2 for k, name in enumerate(TREE.nodes)}
    svg = pair_svg(explanation, pictures)
    drawn, bare = (
        np.asarray(Image.open(io.BytesIO(to_png(s))).convert("RGB")) for s in (svg, re.sub("<text.*?</text>", "", svg))
    )
    assert (drawn != bare).any(2).sum() > 200
    for k, name in enumerate(TREE.nodes):
        assert (drawn == 200 - 9 * k).all(2).sum() > 2 * 40 * 60, name


def test_png_svg_and_json_are_written_and_the_same_every_time(tmp_path):
    explanation = explained(1, 3, effects={"a": 0.4, "b": -0.1})
    boxes = dict.fromkeys(TREE.nodes, (0, 0, 8, 12))
    paths = write_explanation(explanation, boxes, tmp_path / "new" / "one.two")
    assert [path.name for path in paths] == ["one.two.png", "one.two.svg", "one.two.json"]
    first = [path.read_bytes() for path in paths]
    assert first[0].startswith(b"\x89PNG")
    assert b"<svg" in first[1]
    assert json.loads(first[2]) == explanation.to_dict()
    write_explanation(explanation, boxes, tmp_path / "new" / "one.two")
    assert [path.read_bytes() for path in paths] == first


def test_a_parent_stands_above_the_middle_of_its_children():
    place = positions(
        Tree([Node("a", 0), Node("b", 0), Node("c", 0), Node("ab", 1, "a", "b"), Node("all", 3, "ab", "c")])
    )
    assert place == {"a": (0, 0), "b": (1, 0), "c": (2, 0), "ab": (0.5, 1), "all": (1.25, 2)}
