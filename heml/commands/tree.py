"""Print the tree of params.yaml and check it, or propose one."""

from __future__ import annotations

import argparse
from pathlib import Path

from heml.commands.common import Commands


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("tree", help="print the tree of params.yaml and check it, or propose one")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameter file (default: params.yaml)")
    parser.add_argument("--pair", metavar="A,B,…", help="propose levels for these segments instead")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.params import load_params
    from heml.tree import Tree, propose, to_yaml

    if arguments.pair is not None:
        tree = propose([name.strip() for name in arguments.pair.split(",") if name.strip()])
        print(tree.draw())
        print()
        print(to_yaml(tree))
        return
    params = load_params(arguments.params)
    tree = Tree.from_params(params)
    notes = {}
    for node in tree:
        own = params.node(node.name).model_dump()
        changed = {key: value for key, value in own.items() if value != getattr(params.train, key)}
        notes[node.name] = ", ".join(f"{key}: {value}" for key, value in changed.items())
    print(tree.draw(notes))
    print(f"\n{len(tree)} nodes, {len(tree.leaves())} leaves, {max(node.level for node in tree) + 1} levels: in order")
    unused = [name for name in params.segments if name not in tree.leaves()]
    if unused:
        print(f"segments without a leaf: {', '.join(unused)}")
