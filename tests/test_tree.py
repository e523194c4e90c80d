"""The topology: what is a tree, what is not, and what a change in one node touches."""

import pytest
from conftest import ROOT

from heml.errors import HemlError
from heml.params import LEVELS, load_params
from heml.tree import Node, Tree, propose, to_yaml


def uneven() -> Tree:
    return Tree([Node("a", 0), Node("b", 0), Node("c", 0), Node("ab", 1, "a", "b"), Node("all", 3, "ab", "c")])


def test_uneven_depth_joins_a_leaf_with_an_inner_node():
    tree = uneven()
    assert tree.root == "all"
    assert tree.leaves("all") == ["a", "b", "c"]
    assert tree.leaves("ab") == ["a", "b"]
    assert tree.ancestors("a") == ["ab", "all"]
    assert tree.ancestors("c") == ["all"]
    assert [n.name for n in tree] == ["a", "b", "c", "ab", "all"]


def test_drawing_shows_every_node_once_with_its_note():
    assert uneven().draw({"c": "0.5"}).splitlines() == ["all", "├─ ab", "│  ├─ a", "│  └─ b", "└─ c  0.5"]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([Node("a", 0), Node("b", 0), Node("r", 1, "a", "x")], r"level_1\.r: unknown node 'x'"),
        ([Node("a", 0), Node("b", 0), Node("r", 1, "a", "a")], "both 'a'"),
        (
            [Node("a", 0), Node("b", 0), Node("c", 0), Node("r", 1, "a", "b"), Node("s", 2, "r", "a")],
            "already joined by 'r'",
        ),
        ([Node("a", 0), Node("b", 0), Node("r", 1, "a", "s"), Node("s", 1, "b", "r")], "cycle"),
        ([Node("a", 0), Node("b", 0), Node("r", 2, "a", "s"), Node("s", 3, "b", "r")], "cycle"),
        ([Node("a", 0), Node("b", 0)], "one root, but a, b"),
        ([Node("a", 0)], "1 leaves"),
        ([Node("a", 0), Node("b", 0), Node("a", 1, "a", "b")], "stands on level_0 and on level_1"),
        ([Node(f"s{i}", 0) for i in range(65)], "65 leaves"),
    ],
)
def test_what_is_no_tree(nodes, said):
    with pytest.raises(HemlError, match=said):
        Tree(nodes)


def test_an_unknown_segment_is_named(params_dict, parse):
    params_dict["tree"]["level_0"]["beard"] = {}
    with pytest.raises(HemlError, match=r"tree\.level_0\.beard: no such segment; `segments` has hair, brows"):
        Tree.from_params(parse(params_dict))


def test_the_faces_preset_is_the_papers_tree():
    tree = Tree.from_params(load_params(ROOT / "presets" / "faces.yaml"))
    assert len(tree) == 31
    assert len(tree.leaves()) == 16
    pairs = {frozenset(n.children) for n in tree if n.level == 1}
    table_3 = "neck cloth,hair hat,l_eye r_eye,l_brow r_brow,l_ear r_ear,ear_r eye_g,nose skin,u_lip l_lip"
    assert pairs == {frozenset(pair.split()) for pair in table_3.split(",")}
    assert len(tree.ancestors("hair")) == 4  # a change in one segment: 5 of 31 nodes


@pytest.mark.parametrize("n", [2, 3, 5, 8, 16, 33, 64])
def test_a_proposal_is_a_tree_over_all_segments_that_fits_dvc_yaml(n):
    names = [f"s{i}" for i in range(n)]
    tree = propose(names)
    assert sorted(tree.leaves(tree.root)) == sorted(names)
    assert len(tree) == 2 * n - 1
    assert max(node.level for node in tree) < LEVELS


def test_a_proposal_pairs_left_with_right_and_reads_back(params_dict, parse):
    import yaml

    tree = propose(["skin", "l_eye", "nose", "r_eye"])
    assert frozenset(("l_eye", "r_eye")) in {frozenset(n.children) for n in tree}
    params_dict["segments"] = {name: {"classes": ["skin"]} for name in tree.leaves()}
    params_dict["tree"] = yaml.safe_load(to_yaml(tree))["tree"]
    assert [n.name for n in Tree.from_params(parse(params_dict))] == [n.name for n in tree]
    with pytest.raises(HemlError, match="given twice"):
        propose(["a", "a"])


def test_a_hidden_leaf_is_seen_by_itself_and_by_nodes_of_hidden_leaves_alone():
    tree = Tree(list(uneven()), ["a"])
    assert {n.name: tree.sees(n.name) for n in tree} == {
        "a": ["a"],
        "b": ["b"],
        "c": ["c"],
        "ab": ["b"],
        "all": ["b", "c"],
    }
    both = Tree(list(uneven()), ["a", "b"])
    assert (both.sees("ab"), both.sees("all")) == (["a", "b"], ["c"])
    assert tree.leaves("all") == ["a", "b", "c"]
    with pytest.raises(HemlError, match=r"embed\.hide: 'ab' is no leaf of the tree; it has a, b, c"):
        Tree(list(uneven()), ["ab"])
    with pytest.raises(HemlError, match=r"embed\.hide: hides every leaf"):
        Tree(list(uneven()), ["a", "b", "c"])
