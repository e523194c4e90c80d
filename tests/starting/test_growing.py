"""What is joined with what."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heml.errors import HemlError
from heml.params import LEVELS
from heml.starting.growing import grow
from heml.starting.places import Place


def at(*centres: tuple[float, float]) -> dict[str, Place]:
    return {f"p{k}": Place(x, y, 0.01, 0.01) for k, (x, y) in enumerate(centres)}


def test_the_nearest_are_joined_whatever_their_order():
    places = at((0.1, 0.1), (0.9, 0.9), (0.12, 0.1), (0.9, 0.92), (0.1, 0.9))
    for order in itertools.permutations(places):
        tree = grow({name: places[name] for name in order})
        below = {frozenset(tree.leaves(node.name)) for node in tree if node.children}
        assert {frozenset({"p0", "p2"}), frozenset({"p1", "p3"})} <= below


def test_left_and_right_first_even_where_others_are_nearer():
    places = {
        "l_eye": Place(0.9, 0.5, 0.01, 0.01),
        "r_eye": Place(0.1, 0.5, 0.01, 0.01),
        "l_brow": Place(0.9, 0.49, 0.01, 0.01),
        "r_brow": Place(0.1, 0.49, 0.01, 0.01),
        "u_lip": Place(0.5, 0.9, 0.01, 0.01),
        "l_lip": Place(0.5, 0.5, 0.01, 0.01),
    }
    tree = grow(places)
    assert [(n.name, n.children) for n in tree if n.level == 1] == [
        ("eyes", ("l_eye", "r_eye")),
        ("brows", ("l_brow", "r_brow")),
        ("lips", ("u_lip", "l_lip")),
    ]


def test_two_parts_of_one_centre_and_unlike_size_are_apart():
    places = {
        "wide": Place(0.5, 0.5, 0.3, 0.3),
        "small": Place(0.5, 0.5, 0.01, 0.01),
        "near": Place(0.52, 0.5, 0.01, 0.01),
        "far": Place(0.5, 0.8, 0.3, 0.3),
    }
    tree = grow(places)
    assert set(tree[tree.parent["small"]].children) == {"small", "near"}


def test_a_face_is_a_face():
    from heml.starting.places import usual_places

    names = "hair brows eyes glasses mouth facial_hair skin clothes neck hat".split()
    tree = grow(usual_places(names))
    assert tree.root == "portrait"
    assert set(tree.leaves("gaze")) == {"eyes", "glasses"}
    assert set(tree.leaves("jaw")) == {"mouth", "facial_hair"}
    assert set(tree.leaves("headwear")) == {"hair", "hat"}
    assert set(tree.leaves("bust")) == {"clothes", "neck"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=64))
def test_any_parts_make_a_tree_within_the_levels(centres):
    tree = grow(at(*centres))
    assert sorted(tree.leaves()) == sorted(at(*centres))
    assert max(node.level for node in tree) < LEVELS


def test_a_row_of_64_ever_farther_parts_would_be_a_chain_and_is_not():
    tree = grow(at(*((float(2.0**k), 0.0) for k in range(64))))
    assert max(node.level for node in tree) == LEVELS - 1
    assert len(tree) == 127


def test_names_are_names_and_each_is_given_once():
    rng = np.random.default_rng(0)
    names = [f"part_with_a_long_name_{k}" for k in range(40)]
    tree = grow({name: Place(*rng.random(4)) for name in names})
    assert len(tree) == 79
    assert all(len(node.name) <= 64 for node in tree)


def test_a_tree_has_two_to_64():
    for count in (1, 65):
        with pytest.raises(HemlError, match="a tree has 2 to 64"):
            grow(at(*((k / 100, 0.0) for k in range(count))))
