"""Where classes are in masks, against naive means, and trees of label maps whose places are known."""

import json

import numpy as np
import pytest
import yaml
from conftest import ROOT

from heml.cli import main
from heml.images.shards import Description, ImageRecord, write_images
from heml.segments.labelmaps import LabelMap, write_labelmaps
from heml.starting.parts import moments, part_of, places_of

CORNERS = {"one": (0, 0), "two": (30, 30), "three": (0, 8), "four": (30, 22), "five": (2, 34)}
"""Row and column of a square of 5×5: `one` beside `three`, `two` beside `four`."""


def naive(ids, number, height, width):
    """Mean and standard deviation of x and y, pixel by pixel."""
    rows, columns = np.nonzero(ids == number)
    x = (columns + 0.5) * width / ids.shape[1] / max(height, width)
    y = (rows + 0.5) * height / ids.shape[0] / max(height, width)
    return [x.mean(), y.mean(), x.std(), y.std()]


@pytest.mark.parametrize("size", [None, (60, 40), (30, 80)])
def test_a_place_is_the_mean_and_the_spread_of_pixels(size):
    ids = np.random.default_rng(0).integers(0, 4, (30, 40)).astype(np.uint8)
    place = part_of("a", moments(ids, size)[None], [2]).place
    assert [place.x, place.y, place.dx, place.dy] == pytest.approx(naive(ids, 2, *(size or ids.shape)))


def test_of_several_classes_it_is_that_of_all_their_pixels():
    ids = np.random.default_rng(0).integers(0, 4, (30, 40)).astype(np.uint8)
    part = part_of("a", moments(ids)[None], [1, 3])
    both = np.where(ids == 3, 1, ids)
    assert [part.place.x, part.place.y, part.place.dx, part.place.dy] == pytest.approx(naive(both, 1, 30, 40))
    assert part.areas == pytest.approx([(both == 1).mean()])


def test_images_without_it_do_not_count_and_what_is_nowhere_has_no_place():
    there, gone = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    there[:5, :5] = 1
    found = np.stack([moments(there), moments(gone)])
    part = part_of("a", found, [1])
    assert part.place == part_of("a", found[:1], [1]).place
    assert part.there.tolist() == [True, False]
    assert part_of("b", found, [2]).place is None
    assert places_of(["a", "b", "c"], {}, {"a": 1, "b": 2}, found) == {"a": part.place}


def test_large_masks_are_seen_by_every_few_pixels():
    ids = np.zeros((1024, 512), np.uint8)
    ids[100:300, 50:450] = 7
    part = part_of("a", moments(ids)[None], [7])
    assert part.areas == pytest.approx([200 * 400 / ids.size])
    assert [part.place.x, part.place.y] == pytest.approx([250 / 1024, 200 / 1024], abs=0.01)


@pytest.fixture
def run(tmp_path):
    """A folder whose label maps have five squares, each at its place but for a pixel or two."""
    rng, maps = np.random.default_rng(0), []
    for i in range(8):
        labels = np.zeros((40, 40), np.uint8)
        for k, (row, column) in enumerate(CORNERS.values(), 1):
            row, column = row + rng.integers(0, 2), column + rng.integers(0, 2)
            labels[row : row + 4, column : column + 4] = k
        maps.append(LabelMap(f"i{i}", 40, 40, labels, None))
    records = [ImageRecord(m.image_id, "train", 0, b"x", "x.png") for m in maps]
    write_images(tmp_path / "data/images", records, Description("t", "y", ["a"]))
    write_labelmaps(
        tmp_path / "data/labelmaps", maps, {"background": 0} | {name: k for k, name in enumerate(CORNERS, 1)}
    )
    return tmp_path


def joined(tree):
    """Children of the lowest joins, as sets."""
    return {frozenset(node["children"]) for node in tree["nodes"] if node["level"] == 1}


def test_pair_joins_what_lies_together_whatever_the_order(run, capsys):
    for order in ("one,two,three,four,five", "five,four,three,two,one"):
        main(["tree", "--params", str(run / "params.yaml"), "--pair", order, "--json"])
        found = json.loads(capsys.readouterr().out)
        assert found["joined_by"] == "place"
        assert {frozenset({"one", "three"}), frozenset({"two", "four"})} <= joined(found)
    main(["tree", "--params", str(run / "params.yaml"), "--pair", "one,two"])
    assert "then what lies together" in capsys.readouterr().out


def test_pair_knows_the_segments_of_the_parameter_file(run, capsys):
    raw = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    raw["segments"] = {
        "a": {"classes": ["one"]},
        "b": {"classes": ["two", "four"]},
        "c": {"classes": ["three"]},
    }
    raw["tree"] = {f"level_{k}": {} for k in range(8)}
    raw["tree"]["level_0"] = {"a": {}, "b": {}}
    raw["tree"]["level_1"] = {"r": {"left": "a", "right": "b"}}
    (run / "params.yaml").write_text(yaml.safe_dump(raw), "utf-8")
    main(["tree", "--params", str(run / "params.yaml"), "--pair", "a,b,c", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["joined_by"] == "place"
    assert joined(found) == {frozenset({"a", "c"})}


def test_pair_says_that_the_order_was_used(run, tmp_path, capsys):
    main(["tree", "--params", str(run / "params.yaml"), "--pair", "one,two,nowhere"])
    assert "then in their order" in capsys.readouterr().out
    main(["tree", "--params", str(tmp_path / "elsewhere/params.yaml"), "--pair", "one,two,three", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["joined_by"] == "order"
    assert joined(found) == {frozenset({"one", "two"})}


def test_classes_proposes_a_tree_of_what_lies_together(run, capsys):
    main(["classes", "--data", str(run / "data"), "--json"])
    tree = json.loads(capsys.readouterr().out)["tree"]
    assert tree["joined_by"] == "place"
    assert {frozenset({"one", "three"}), frozenset({"two", "four"})} <= joined(tree)
    main(["classes", "--data", str(run / "data")])
    assert "joined left and right first, then what lies together." in capsys.readouterr().out
