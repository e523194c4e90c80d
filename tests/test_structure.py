"""Imports point one way: no room imports one above it, and no module leads back to itself."""

import re

import pytest
from conftest import ROOT

from benchmarks.structure import ROOMS, Structure, circles, measures, upward


@pytest.fixture(scope="module")
def structure():
    return Structure(ROOT)


def test_no_room_imports_one_above_it(structure):
    assert upward(structure.rooms()) == []


def test_every_room_has_its_place(structure):
    assert sorted(structure.rooms()) == sorted(ROOMS)


def test_no_module_leads_back_to_itself(structure):
    assert circles(structure.modules()) == []


def test_the_library_knows_nothing_of_dvc_but_where_it_runs(structure):
    """`running`, which asks DVC, is imported by commands and stages alone."""
    assert {own for own, other in structure.rooms().edges if other == "running"} <= {"commands", "cli"}


def test_the_rooms_of_the_docs_are_the_rooms_of_the_code():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("## Rooms")[1].split("## Formats")[0]
    shown = re.findall(r"^  (\w+)(?:\.py|/) ", text, re.MULTILINE)
    assert sorted(shown) == sorted(ROOMS)


def project(root, **modules):
    """A library of modules with what each imports."""
    for name, imports in modules.items():
        path = root / "heml" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"from heml.{other} import x\n" for other in imports))
    (root / "stages").mkdir()
    return Structure(root)


def test_an_arrow_up_is_found_wherever_it_stands(tmp_path):
    found = project(tmp_path, errors=[], images__canvas=["errors"], learning__node=["images.canvas"])
    assert upward(found.rooms()) == []
    (tmp_path / "heml" / "errors.py").write_text("def f():\n    from heml.learning.node import x\n")
    assert upward(found.rooms()) == [("errors", "learning")]
    assert circles(found.rooms()) == [{"errors", "images", "learning"}]


def test_a_room_without_a_place_is_found(tmp_path):
    assert upward(project(tmp_path, attic__box=["errors"], errors=[]).rooms()) == [("attic", "errors")]


def test_circles_are_those_of_a_naive_search(tmp_path):
    found = project(tmp_path, images__a=["images.b"], images__b=["images.c"], images__c=["images.a"], images__d=[])
    graph = found.modules()

    naive = {name for name in graph if any(path[-1] == name for path in _walks(graph, name))}
    assert naive == set.union(*circles(graph)) == {"heml.images.a", "heml.images.b", "heml.images.c"}


def _walks(graph, start):
    waiting = [[start]]
    while waiting:
        path = waiting.pop()
        for other in graph.successors(path[-1]):
            yield [*path, other]
            if other not in path:
                waiting.append([*path, other])


def test_measures_are_what_is_there(tmp_path):
    structure = project(tmp_path, errors=[], cli=["errors"])
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "heml" / "errors.py").write_text("class A:\n    def build_x(self, a, *, b):\n        return a\n")
    found = dict(measures(structure.root))
    assert found["lines of `heml/` and `stages/`"] == "4"
    assert found["parameters of `build_…` and `write_…`, mean; at most"] == "2.00; 2"
    assert found["floors (longest chain of rooms)"] == "2"
