"""How the code is built: its size, its functions, its imports; of this checkout or of others.

    python -m benchmarks.structure [CHECKOUT …]     # git worktree add ../before v0.1.0, to compare

A row a measure, a column a checkout. An arrow is an import of one module by another, wherever it stands in the file; a
room is a package of `heml`, or one of its modules outside of them. An arrow points up where a room imports one that
stands after it in `ROOMS`.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import networkx as nx

ROOMS = (
    *"errors meant lifetime cells machine imports row_groups progress atomic json_file sealed fetch terms".split(),
    *"yaml_text run losses params tree distances reading".split(),
    *"images segments datasets segmentation learning evaluation explanation bias baselines reporting serving".split(),
    *"exporting starting running commands cli".split(),
)
"""Every room, from the lowest: imports go to those before."""
KNOWS_ALL = "__init__"
"""The package's own face, which names what is public."""


@dataclass(frozen=True)
class Structure:
    """The imports of a checkout's library."""

    root: Path

    @property
    def files(self) -> list[Path]:
        """Modules of the library and scripts of stages."""
        return [path for folder in ("heml", "stages") for path in sorted((self.root / folder).rglob("*.py"))]

    def trees(self) -> Iterator[tuple[Path, ast.Module]]:
        for path in self.files:
            yield path, ast.parse(path.read_text("utf-8"))

    def modules(self) -> nx.DiGraph:
        """Modules of the library, with an arrow to each that one imports."""
        names = {self.name(path): path for path in self.files if path.is_relative_to(self.root / "heml")}
        found = nx.DiGraph()
        found.add_nodes_from(names)
        for path, tree in self.trees():
            own = self.name(path)
            if own in names:
                found.add_edges_from((own, other) for other in imported(tree) if other in names and other != own)
        return found

    def rooms(self) -> nx.DiGraph:
        """The same by rooms, but for the package's own face."""
        modules = self.modules()
        found = nx.DiGraph()
        found.add_nodes_from({room(name) for name in modules} - {KNOWS_ALL})
        for own, other in modules.edges:
            if (a := room(own)) != (b := room(other)) and KNOWS_ALL not in (a, b):
                found.add_edge(a, b)
        return found

    def name(self, path: Path) -> str:
        return ".".join(path.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """
    >>> room("heml.images.canvas"), room("heml.errors"), room("heml")
    ('images', 'errors', '__init__')
    """
    return module.split(".")[1] if "." in module else KNOWS_ALL


def circles(graph: nx.DiGraph) -> list[set[str]]:
    """Sets of nodes each of which leads to each other."""
    return [found for found in nx.strongly_connected_components(graph) if len(found) > 1]


def upward(rooms: nx.DiGraph) -> list[tuple[str, str]]:
    """Arrows that do not point to a room before their own, and those of rooms that have no place."""
    place = {name: k for k, name in enumerate(ROOMS)}
    return [
        (own, other)
        for own, other in rooms.edges
        if not (own in place and other in place and place[other] < place[own])
    ]


def imported(tree: ast.Module) -> Iterator[str]:
    """What a file imports; of `from a import b` both `a` and `a.b`, since either may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def measures(root: Path) -> Iterator[tuple[str, str]]:
    """What a checkout is, a name and a value each."""
    structure = Structure(root)
    functions = [
        node
        for _, tree in structure.trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    counts = [sum(a.arg not in ("self", "cls") for a in _parameters(node)) for node in functions]
    lengths = [node.end_lineno - node.body[0].lineno + 1 for node in functions if node.end_lineno]
    building = [n for n, node in zip(counts, functions, strict=True) if node.name.startswith(("build_", "write_"))]
    lines = [len(path.read_text("utf-8").splitlines()) for path in structure.files]
    modules, rooms = structure.modules(), structure.rooms()
    longest = max(len(line) for path in structure.files for line in path.read_text("utf-8").splitlines())
    yield "lines of `heml/` and `stages/`", f"{sum(lines):,}"
    yield "modules; longest, lines", f"{len(lines)}; {max(lines)}"
    yield "columns at most", f"{longest}"
    yield "lines of `dvc.yaml`", f"{len((root / 'dvc.yaml').read_text('utf-8').splitlines())}"
    yield "functions; lines of one, median", f"{len(functions)}; {median(lengths):g}"
    yield "parameters of a function, mean; more than five", f"{mean(counts):.2f}; {sum(n > 5 for n in counts)}"
    yield "parameters of `build_…` and `write_…`, mean; at most", f"{mean(building):.2f}; {max(building)}"
    yield "rooms; arrows between them", f"{len(rooms)}; {rooms.number_of_edges()}"
    yield "arrows between modules", f"{modules.number_of_edges()}"
    yield "circles of rooms; of modules", f"{len(circles(rooms))}; {len(circles(modules))}"
    stacked = rooms.subgraph(set(rooms) - {KNOWS_ALL})
    yield (
        "floors (longest chain of rooms)",
        f"{nx.dag_longest_path_length(stacked) + 1 if not circles(stacked) else '–'}",
    )


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    given = node.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path()])
    checkouts = parser.parse_args().checkouts
    print(f"| | {' | '.join(path.absolute().name for path in checkouts)} |")
    print(f"|---|{'---|' * len(checkouts)}")
    for rows in zip(*(list(measures(path)) for path in checkouts), strict=True):
        print(f"| {rows[0][0]} | {' | '.join(value for _, value in rows)} |")


if __name__ == "__main__":
    main()
