"""Print the tree of params.yaml and check it, or propose one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heml.commands.common import Commands
from heml.commands.screen import FAINT, STRONG, WARN, Screen, add_output, drawing, text
from heml.errors import HemlError

if TYPE_CHECKING:
    from heml.starting.places import Place
    from heml.tree import Tree

HOW = {True: "left and right first, then what lies together", False: "left and right first, then in their order"}
"""How a tree that is proposed was joined, by whether it is known where its segments lie."""


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("tree", help="print the tree of params.yaml and check it, or propose one")
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="parameter file (default: params.yaml)"
    )
    parser.add_argument(
        "--pair",
        metavar="A,B,…",
        help="propose levels for these segments instead: by where they lie in the label maps, or in this order before"
        " there are any",
    )
    add_output(parser, "the names of the nodes, leaves first; with --pair the `tree` section")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.params import load_params
    from heml.tree import Tree

    screen = Screen.of(arguments)
    if arguments.pair is not None:
        _propose([name.strip() for name in arguments.pair.split(",") if name.strip()], arguments.params, screen)
        return
    params = load_params(arguments.params)
    tree = Tree.from_params(params)
    changed = {}
    for node in tree:
        own = params.node(node.name).model_dump()
        changed[node.name] = {key: value for key, value in own.items() if value != getattr(params.train, key)}
    notes = {
        name: text((", ".join(f"{key}: {value}" for key, value in own.items()), FAINT))
        for name, own in changed.items()
        if own
    }
    screen.say(drawing(tree, notes, lambda name: (name, STRONG) if tree[name].children else name))
    levels = max(node.level for node in tree) + 1
    screen.say(f"\n{len(tree)} nodes, {len(tree.leaves())} leaves, {levels} levels: in order")
    unused = [name for name in params.segments if name not in tree.leaves()]
    if unused:
        screen.say(text((f"segments without a leaf: {', '.join(unused)}", WARN)))
    if arguments.quiet:
        screen.result("\n".join(tree.nodes))
    screen.document(as_json(tree, changed) | {"segments_without_a_leaf": unused})


def _propose(segments: list[str], params: Path, screen: Screen) -> None:
    from heml.starting.growing import join
    from heml.tree import to_yaml

    tree, placed = join(segments, _places(segments, params))
    screen.say(drawing(tree), "")
    screen.say(text((f"# {HOW[placed]}", FAINT)))
    screen.result(to_yaml(tree))
    screen.document(as_json(tree) | {"joined_by": joined_by(placed)})


def _places(segments: list[str], params: Path) -> dict[str, Place]:
    """Where the segments lie in the label maps beside a parameter file; empty where there are none."""
    from heml.run import Run

    run = Run(params.parent)
    if not run.labelmaps.is_dir():
        return {}
    from heml.params import load_params
    from heml.starting.parts import measured, places_of

    try:
        own = load_params(params).segments
    except HemlError:  # a tree is proposed for want of a file that is right: segments are classes then
        own = {}
    return places_of(segments, own, *measured(run.images, run.labelmaps))


def joined_by(placed: bool) -> str:
    """`HOW`, as JSON has it."""
    return "place" if placed else "order"


def as_json(tree: Tree, changed: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """A tree as JSON has it.

    Args:
        changed: what nodes set for themselves.
    """
    nodes = [
        {"name": n.name, "level": n.level, "children": list(n.children), "sets": (changed or {}).get(n.name, {})}
        for n in tree
    ]
    return {"root": tree.root, "leaves": tree.leaves(), "nodes": nodes}
