"""A tree that joins what lies together: left and right of one kind first, then the nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heml.errors import HemlError
from heml.params import LEVELS
from heml.starting.places import Place, part, region, side
from heml.tree import Node, Tree, propose


@dataclass(frozen=True)
class _Branch:
    """A node with what is below it."""

    name: str
    leaves: tuple[str, ...]
    place: Place
    """Of all its leaves' together, each counting the same."""
    level: int


def join(
    segments: Sequence[str], places: Mapping[str, Place], areas: Mapping[str, float] | None = None
) -> tuple[Tree, bool]:
    """A tree over the segments, and whether it is grown: by where they lie if that is known of all of them, otherwise
    in their order (`heml.tree.propose`).

    Raises:
        HemlError: fewer than 2, more than 64, or a name given twice.
    """
    if len(set(segments)) == len(segments) >= 2 and all(name in places for name in segments):
        return grow({name: places[name] for name in segments}, areas), True
    return propose(segments), False


def grow(places: Mapping[str, Place], areas: Mapping[str, float] | None = None) -> Tree:
    """A tree over the segments, by where they lie.

    A part is a Gaussian of its centre and spread, and the distance of two parts Wasserstein's, which for such is
    Euclid's between the four numbers; branches are joined so that the squared distances within grow least (Ward, 1963),
    and the top is at most on the last level.

    Args:
        places: segment → where it is, in the order that breaks ties.
        areas: segment → its size, by which a branch without a common word is called; by default their spread.

    Raises:
        HemlError: fewer than 2 or more than 64 segments.
    """
    if not 2 <= len(places) <= 64:
        raise HemlError(f"{len(places)} segments to join; a tree has 2 to 64")
    names = list(places)
    size = areas or {name: place.dx * place.dy for name, place in places.items()}
    nodes = [Node(name, 0) for name in names]
    branches = [_Branch(name, (name,), place, 0) for name, place in places.items()]

    def join(a: _Branch, b: _Branch) -> None:
        level, leaves = max(a.level, b.level) + 1, a.leaves + b.leaves
        called = _called(leaves, names, size, [node.name for node in nodes])
        nodes.append(Node(called, level, a.name, b.name))
        branches.remove(b)
        branches[branches.index(a)] = _Branch(called, leaves, _together(a, b), level)

    for a, b in _partners(branches):
        join(a, b)
    while len(branches) > 1:
        room = 2 ** (LEVELS - 1) - sum(2**branch.level for branch in branches)  # Kraft: what fits below the last level
        pairs = [(a, b) for i, a in enumerate(branches) for b in branches[i + 1 :]]
        join(*min((p for p in pairs if _needs(*p) <= room), key=lambda p: _growth(*p)))
    return Tree(nodes)


def _partners(branches: Sequence[_Branch]) -> list[tuple[_Branch, _Branch]]:
    """Left and right, or upper and lower, of one kind."""
    kinds = {(side(b.name), part(b.name)): b for b in branches}
    sides = [(b, kinds.get(("r", kind))) for (which, kind), b in kinds.items() if which == "l"]
    rows = [(b, kinds.get(("", "lower_" + kind[6:]))) for (_, kind), b in kinds.items() if kind.startswith("upper_")]
    return [(a, b) for a, b in sides + rows if b]


def _needs(a: _Branch, b: _Branch) -> int:
    """The room that joining two branches takes: none where they are of one height."""
    return int(2 ** (max(a.level, b.level) + 1) - 2**a.level - 2**b.level)


def _growth(a: _Branch, b: _Branch) -> float:
    """By how much the squared distances within branches grow."""
    p, q = a.place, b.place
    apart = (p.x - q.x) ** 2 + (p.y - q.y) ** 2 + (p.dx - q.dx) ** 2 + (p.dy - q.dy) ** 2
    return apart * len(a.leaves) * len(b.leaves) / (len(a.leaves) + len(b.leaves))


def _together(a: _Branch, b: _Branch) -> Place:
    """The Gaussian of two branches' mixture."""
    p, q, share = a.place, b.place, len(a.leaves) / (len(a.leaves) + len(b.leaves))

    def spread(d: float, e: float, apart: float) -> float:
        return float((share * d**2 + (1 - share) * e**2 + share * (1 - share) * apart**2) ** 0.5)

    x, y = share * p.x + (1 - share) * q.x, share * p.y + (1 - share) * q.y
    return Place(x, y, spread(p.dx, q.dx, p.x - q.x), spread(p.dy, q.dy, p.y - q.y))


def _called(leaves: Sequence[str], among: Sequence[str], size: Mapping[str, float], taken: Sequence[str]) -> str:
    """A word for a branch: of its region, of its two leaves, or of its largest."""
    if found := region(leaves, among, taken):
        return found
    if len(leaves) == len(among):
        names = ["whole"]
    elif len(leaves) == 2:
        names = [f"{leaves[0]}_{leaves[1]}"]
    else:
        largest = sorted(leaves, key=lambda leaf: -size[leaf])
        names = [f"around_{largest[0]}", *(f"{largest[0]}_to_{other}" for other in largest[1:])]
    free = next((name for name in names if name not in taken and len(name) <= 40), None)
    number = 2
    while free is None:
        free = None if (name := f"group_{number}") in taken else name
        number += 1
    return free
