"""`heml …` for a person at a terminal."""

from __future__ import annotations

import argparse
from pathlib import Path

from heml import __version__
from heml.errors import exit_on_error
from heml.params import load_params
from heml.tree import Tree, propose, to_yaml


def _tree(arguments: argparse.Namespace) -> None:
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


def _explain(arguments: argparse.Namespace) -> None:
    from heml.explanation.metric_tree import MetricTree

    print(MetricTree.load(arguments.models).explain(arguments.first, arguments.second))


def main(argv: list[str] | None = None) -> None:
    """The command line; exits with 1 and one message on an error the user can put right."""
    parser = argparse.ArgumentParser(prog="heml", description="Explainable metric learning: why are two images similar?")
    parser.add_argument("--version", action="version", version=f"heml {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    tree = commands.add_parser("tree", help="print the tree of params.yaml and check it, or propose one")
    tree.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameter file (default: params.yaml)")
    tree.add_argument("--pair", metavar="A,B,…", help="propose levels for these segments instead")
    tree.set_defaults(run=_tree)

    explain = commands.add_parser("explain", help="the distance of two image files at every node")
    explain.add_argument("first", type=Path)
    explain.add_argument("second", type=Path)
    explain.add_argument("--models", type=Path, default=Path("models"), help="folder of a finished run (default: models)")
    explain.set_defaults(run=_explain)

    arguments = parser.parse_args(argv)
    with exit_on_error():
        arguments.run(arguments)


if __name__ == "__main__":
    main()
