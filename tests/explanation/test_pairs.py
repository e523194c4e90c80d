"""The tree of distances of a pair."""

import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from heml.distances import bounded_snr
from heml.evaluation.calibration import Calibration, Scale, calibrate
from heml.evaluation.embeddings import NodeEmbeddings
from heml.explanation.drawing import ALIKE, APART, pair_svg, positions, segment_pictures, to_png, write_explanation
from heml.explanation.pairs import Explanation, digits, explain, telling_pairs
from heml.explanation.views import View
from heml.tree import Node, Tree

SVG = "{http://www.w3.org/2000/svg}"
TREE = Tree([Node("a", 0), Node("b", 0), Node("ab", 1, "a", "b")])


def embeddings(n=40) -> dict[str, NodeEmbeddings]:
    generator = torch.Generator().manual_seed(0)
    result = {}
    for name in ("a", "b", "ab"):
        vectors = torch.randn(n, 8, generator=generator)
        present = np.ones(n, bool)
        if name == "b":
            present[[0, 5]] = False
            vectors[[0, 5]] = torch.nan
        ids = [f"i{k}" for k in range(n)]
        labels = np.arange(n) // 2 % 2
        result[name] = NodeEmbeddings(name, ids, np.array(["train", "test"] * (n // 2)), labels, present, [vectors], vectors, "snr")
    return result


def view(stored: dict[str, NodeEmbeddings], row: int) -> View:
    rng = np.random.default_rng(row)
    masks = {leaf: rng.random((12, 8)) < 0.5 * stored[leaf].present[row] for leaf in ("a", "b")}
    vectors = {name: node.vectors[row] for name, node in stored.items()}
    return View(f"i{row}", rng.integers(0, 256, (12, 8, 3), dtype=np.uint8), masks, vectors)


def explained(first: int, second: int, calibration: Calibration | None = None, **options) -> Explanation:
    stored = embeddings()
    return explain(
        view(stored, first), view(stored, second), TREE, calibrate(stored, TREE) if calibration is None else calibration, **options
    )


def test_distance_and_absence_at_every_node():
    stored, explanation = embeddings(), explained(1, 5)
    x, y = stored["a"].vectors[1].numpy(), stored["a"].vectors[5].numpy()
    expected = np.var(x - y, ddof=1) / (2 * (np.var(x, ddof=1) + np.var(y, ddof=1)))
    assert explanation.nodes["a"].distance == pytest.approx(expected, rel=1e-5)
    assert explanation.nodes["a"].similarity == pytest.approx(1 - expected, rel=1e-5)
    assert np.isnan(explanation.nodes["b"].distance)
    assert "b  absent in the second" in str(explanation)
    assert "absent in both" in str(explained(0, 5))
    assert f"a  {digits(expected)}" in str(explanation)
    assert str(explained(3, 3).nodes["ab"]).startswith("0.000")


def test_without_a_calibration_there_are_distances_alone():
    node = explained(1, 3, {}).nodes["ab"]
    assert node.distance > 0
    assert (node.decision, node.composed) == (None, None)
    assert np.isnan(node.percentile)
    assert np.isnan(node.contribution)


def test_decisions_are_by_threshold_and_compose_to_the_whole():
    plain = explained(1, 3, {})
    sides = {"a": -0.01, "b": -0.01, "ab": 0.01}  # both leaves above their threshold, the root below its own
    scales = {name: Scale(plain.nodes[name].distance + side, 0.5, 0.5, []) for name, side in sides.items()}
    found = explained(1, 3, scales)
    assert {name: node.decision for name, node in found.nodes.items()} == {"a": "different", "b": "different", "ab": "same"}
    assert found.decision == found.nodes["ab"].composed == "different"
    assert "i1 and i3: different" in str(found)


def test_contributions_sum_to_the_roots_distance():
    found = explained(1, 3, effects={"a": 0.3, "b": -0.1})
    root = found.nodes["ab"]
    assert found.nodes["a"].contribution + found.nodes["b"].contribution == pytest.approx(root.distance)
    assert found.nodes["a"].contribution - found.nodes["b"].contribution == pytest.approx(0.4)
    assert root.contribution == pytest.approx(root.distance)
    only = explained(0, 5, effects={"a": 0.3, "b": 0.0})  # neither shows b
    assert only.nodes["b"].contribution == 0
    assert only.nodes["a"].contribution == pytest.approx(only.nodes["ab"].distance)


def test_other_distances_on_request():
    stored, found = embeddings(), explained(1, 3, distances=["euclidean", "l1"]).nodes["a"]
    a, b = stored["a"].vectors[1], stored["a"].vectors[3]
    assert found.others == pytest.approx({"euclidean": float((a - b).norm()), "l1": float((a - b).abs().sum())}, rel=1e-4)


def test_json_has_every_node_and_null_for_what_is_unknown():
    found = json.loads(json.dumps(explained(1, 5, effects={"a": 0.1, "b": 0.2}).to_dict(), allow_nan=False))
    assert set(found["nodes"]) == {"a", "b", "ab"}
    assert found["nodes"]["b"]["distance"] is None
    assert found["nodes"]["b"]["present"] == [True, False]
    assert found["nodes"]["ab"]["children"] == ["a", "b"]
    assert found["root"] == "ab"
    assert 0 <= found["nodes"]["a"]["percentile"] <= 100


def test_small_distances_have_a_digit_more():
    assert [digits(d) for d in (0.0994, 0.1, 0.456, 0.0)] == ["0.099", "0.10", "0.46", "0.000"]


def test_telling_pairs_are_test_images_used_once():
    pairs = telling_pairs(embeddings(), TREE, 4)
    used = [name for pair in pairs for name in pair]
    assert len(used) == len(set(used)) == 8
    assert all(int(name[1:]) % 2 for name in used)
    assert pairs == telling_pairs(embeddings(), TREE, 4)


def test_telling_pairs_do_not_mind_how_a_node_stretches_its_distances():
    """A leaf whose distances are all a hundred times smaller still disagrees with the root as much."""
    plain, stretched = embeddings(), embeddings()
    constant = torch.zeros(8).index_fill(0, torch.arange(4), 30.0)
    vectors = stretched["a"].vectors
    stretched["a"] = replace(stretched["a"], repeats=[vectors - vectors.mean(1, keepdim=True) + constant])
    first = bounded_snr(plain["a"].vectors[1], plain["a"].vectors[3])
    assert bounded_snr(stretched["a"].vectors[1], stretched["a"].vectors[3]) < first / 20
    pairs = telling_pairs(stretched, TREE, 2)
    rows = [int(name[1:]) for name in pairs[0]]
    found = explain(view(stretched, rows[0]), view(stretched, rows[1]), TREE, calibrate(stretched, TREE)).nodes
    assert found["ab"].percentile < 30
    assert max(found["a"].percentile, np.nan_to_num(found["b"].percentile)) > 70


def test_the_figure_has_both_pictures_of_every_node_and_edges_as_thick_as_contributions():
    explanation = explained(1, 5, effects={"a": 0.4, "b": -0.1})
    drawing = ElementTree.fromstring(pair_svg(explanation, segment_pictures(explanation, dict.fromkeys(TREE.nodes, (0, 0, 8, 12)))))
    assert len(list(drawing.iter(f"{SVG}image"))) == 6
    assert {"a", "b", "ab", "absent"} <= {text.text for text in drawing.iter(f"{SVG}text")}
    most = max(abs(d.contribution) for d in explanation.nodes.values())
    expected = {1 + 10 * abs(explanation.nodes[leaf].contribution) / most for leaf in ("a", "b")}
    drawn = {float(line.get("stroke-width")) for line in drawing.iter(f"{SVG}path") if line.get("stroke") in (APART, ALIKE)}
    assert sorted(drawn) == pytest.approx(sorted(expected), abs=0.01)


def test_names_are_drawn_as_they_are_whatever_they_hold():
    stored = embeddings()
    names = ('a$_ <b>&"', "b\x01\n猫")
    first, second = (replace(view(stored, row), name=name) for row, name in zip((1, 3), names, strict=True))
    explanation = explain(first, second, TREE, {})
    svg = pair_svg(explanation, segment_pictures(explanation, dict.fromkeys(TREE.nodes, (0, 0, 8, 12))))
    told = [line.text for line in ElementTree.fromstring(svg).iter(f"{SVG}tspan")]
    assert told[0] == 'a$_ <b>&" and b\ufffd\ufffd猫'
    assert to_png(svg).startswith(b"\x89PNG")


def test_a_drawing_has_letters_and_the_segments_own_pixels():
    """Rendered again without text it is another picture; where a node's picture stands, its pixels are."""
    explanation = explained(1, 5)
    pictures = {name: (np.full((12, 8, 3), 200 - 9 * k, np.uint8),) * 2 for k, name in enumerate(TREE.nodes)}
    svg = pair_svg(explanation, pictures)
    drawn, bare = (np.asarray(Image.open(io.BytesIO(to_png(s))).convert("RGB")) for s in (svg, re.sub("<text.*?</text>", "", svg)))
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
    place = positions(Tree([Node("a", 0), Node("b", 0), Node("c", 0), Node("ab", 1, "a", "b"), Node("all", 3, "ab", "c")]))
    assert place == {"a": (0, 0), "b": (1, 0), "c": (2, 0), "ab": (0.5, 1), "all": (1.25, 2)}
