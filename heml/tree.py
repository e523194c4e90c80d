"""The metric tree: which segments are joined with which, bottom-up (HEML, Algorithm 1). Topology only, no weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from heml.errors import HemlError
from heml.meant import meant
from heml.params import LEVELS, Inner, Params


@dataclass(frozen=True)
class Node:
    """One metric: a leaf (a segment of its own) or the join of two nodes of lower levels."""

    name: str
    level: int
    left: str | None = None
    right: str | None = None

    @property
    def children(self) -> tuple[str, ...]:
        """Names of the two joined nodes, or none for a leaf."""
        return () if self.left is None or self.right is None else (self.left, self.right)


class Tree:
    """A checked binary tree of nodes with exactly one root.

    Args:
        nodes: in any order; a child must stand on a lower level than its parent, which also rules out cycles.
        hidden: leaves that nodes of other leaves do not see.

    Raises:
        HemlError: fewer than 2 or more than 64 leaves, a name used twice, a node that joins itself, an unknown,
            repeated or higher child, more than one root; a hidden name that is no leaf, or every leaf hidden.
    """

    def __init__(self, nodes: Sequence[Node], hidden: Sequence[str] = ()) -> None:
        self.nodes: dict[str, Node] = {}
        for node in sorted(nodes, key=lambda n: n.level):
            if node.name in self.nodes:
                first = self.nodes[node.name].level
                raise HemlError(f"tree: {node.name!r} stands on level_{first} and on level_{node.level}; rename one")
            self.nodes[node.name] = node
        self.parent: dict[str, str] = {}
        for node in self.nodes.values():
            for child in node.children:
                self._check_child(node, child)
                self.parent[child] = node.name
        roots = [name for name in self.nodes if name not in self.parent]
        if not 2 <= len(self.leaves()) <= 64:
            raise HemlError(f"tree: has {len(self.leaves())} leaves on level_0; 2 to 64 are allowed")
        if len(roots) != 1:
            raise HemlError(f"tree: must end in one root, but {', '.join(roots)} are joined by no node; join them")
        self.root = roots[0]
        self.hidden = tuple(hidden)
        for name in hidden:
            if name not in self.leaves():
                near = meant(name, self.leaves())
                raise HemlError(f"embed.hide: {name!r} is no leaf of the tree; it has {', '.join(self.leaves())}{near}")
        if set(self.leaves()) <= set(hidden):
            raise HemlError("embed.hide: hides every leaf; leave one at least")

    def _check_child(self, node: Node, child: str) -> None:
        where = f"tree.level_{node.level}.{node.name}"
        if node.left == node.right:
            raise HemlError(f"{where}: left and right are both {child!r}; a node joins two different ones")
        if child not in self.nodes:
            raise HemlError(
                f"{where}: unknown node {child!r}; known are {', '.join(self.nodes)}{meant(child, self.nodes)}"
            )
        if self.nodes[child].level >= node.level:
            raise HemlError(
                f"{where}: {child!r} is on level_{self.nodes[child].level}, which is not below level_{node.level} "
                "(a cycle, or a level too low); move the node up"
            )
        if child in self.parent:
            raise HemlError(f"{where}: {child!r} is already joined by {self.parent[child]!r}; a node is used once")

    @classmethod
    def from_params(cls, params: Params) -> Tree:
        """The tree of a parameter file, its leaves checked against `segments`."""
        nodes = []
        for k, level in enumerate(params.tree.levels()):
            for name, node in level.items():
                if k == 0 and name not in params.segments:
                    known = ", ".join(params.segments)
                    raise HemlError(
                        f"tree.level_0.{name}: no such segment; `segments` has {known}{meant(name, params.segments)}"
                    )
                nodes.append(Node(name, k, *((node.left, node.right) if isinstance(node, Inner) else ())))
        return cls(nodes, params.embed.hide)

    def __iter__(self) -> Iterator[Node]:
        """Nodes by level, leaves first: the order of training."""
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, name: str) -> Node:
        try:
            return self.nodes[name]
        except KeyError:
            raise HemlError(
                f"tree: no node {name!r}; known are {', '.join(self.nodes)}{meant(name, self.nodes)}"
            ) from None

    def leaves(self, below: str | None = None) -> list[str]:
        """Names of all leaves, or of those under one node, left to right for a node."""
        if below is None:
            return [node.name for node in self if not node.children]
        children = self[below].children
        return [leaf for child in children for leaf in self.leaves(child)] if children else [below]

    def sees(self, name: str) -> list[str]:
        """The leaves whose segments a node sees: those under it without hidden ones, or all of them where all are
        hidden."""
        under = self.leaves(name)
        return [leaf for leaf in under if leaf not in self.hidden] or under

    def ancestors(self, name: str) -> list[str]:
        """The path from a node's parent up to the root: what a change in it re-trains."""
        path = []
        while name in self.parent:
            name = self.parent[name]
            path.append(name)
        return path

    def depth_first(self) -> Iterator[tuple[Node, int]]:
        """Nodes from the root down, with their depth: the order of drawing."""
        stack = [(self.root, 0)]
        while stack:
            name, depth = stack.pop()
            yield self[name], depth
            stack += [(child, depth + 1) for child in reversed(self[name].children)]

    def draw(self, notes: dict[str, str] | None = None) -> str:
        """The tree as lines of text, the root first, each node followed by its note."""
        lines: list[str] = []

        def visit(name: str, lead: str, branch: str, below: str) -> None:
            note = (notes or {}).get(name, "")
            lines.append(f"{lead}{branch}{name}  {note}".rstrip())
            children = self[name].children
            for i, child in enumerate(children):
                last = i == len(children) - 1
                visit(child, lead + below, "└─ " if last else "├─ ", "   " if last else "│  ")

        visit(self.root, "", "", "")
        return "\n".join(lines)


_SIDES = re.compile(r"^(l|r|left|right|u|lower|upper)_(.+)$")


def _joined_name(left: str, right: str, taken: set[str]) -> str:
    """`l_eye`, `r_eye` → `eyes`; otherwise the two names, or first and last where that grows long."""
    a, b = _SIDES.match(left), _SIDES.match(right)
    if a and b and a[2] == b[2]:
        name = f"{a[2]}s"
    else:
        name = f"{left}_{right}"
        if len(name) > 30:
            name = f"{left.split('_')[0]}_to_{right.split('_')[-1]}"
    base, n = name, 2
    while name in taken:
        name, n = f"{base}_{n}", n + 1
    return name


def propose(segments: Sequence[str]) -> Tree:
    """A balanced tree over `segments`: partners (l_x with r_x or its like) first, then neighbours as listed.

    Raises:
        HemlError: fewer than 2, more than 64, or a name given twice.
    """
    if len(set(segments)) != len(segments):
        twice = next(s for s in segments if list(segments).count(s) > 1)
        raise HemlError(f"segment {twice!r} is given twice")
    if not 2 <= len(segments) <= 64:
        raise HemlError(f"{len(segments)} segments given; a tree has 2 to 64")
    order = _partners_first(segments)
    nodes = [Node(name, 0) for name in order]
    level, row = 0, order
    while len(row) > 1:
        level += 1
        joined = []
        for left, right in zip(row[::2], row[1::2], strict=False):
            name = "root" if len(row) == 2 else _joined_name(left, right, {n.name for n in nodes})
            nodes.append(Node(name, level, left, right))
            joined.append(name)
        row = joined + row[len(joined) * 2 :]
    return Tree(nodes)


def _partners_first(segments: Sequence[str]) -> list[str]:
    """Segments in an order whose neighbours at 0–1, 2–3, … belong together; an odd one stands last."""
    sides = {name: m[2] for name in segments if (m := _SIDES.match(name))}
    pairs: list[list[str]] = []
    waiting: list[str] = []
    used: set[str] = set()
    for name in segments:
        if name in used:
            continue
        partner = next(
            (s for s in segments if s != name and s not in used and name in sides and sides.get(s) == sides[name]), None
        )
        if partner:
            pairs.append([name, partner])
            used |= {name, partner}
        elif waiting:
            pairs.append([waiting.pop(), name])
        else:
            waiting.append(name)
    return [name for pair in pairs for name in pair] + waiting


def to_yaml(tree: Tree) -> str:
    """The `tree` section of a parameter file, by level, leaves first."""
    lines = ["tree:"]
    for k in range(LEVELS):
        nodes = [node for node in tree if node.level == k]
        items = [f"{n.name}: {{left: {n.left}, right: {n.right}}}" if n.children else f"{n.name}: {{}}" for n in nodes]
        lines.append(f"  level_{k}: {{{', '.join(items)}}}")
    return "\n".join(lines)
