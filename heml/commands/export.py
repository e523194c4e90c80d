"""Embeddings or networks in the formats of other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from heml.commands.common import Commands, add_run, gallery_of
from heml.errors import HemlError


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("export", help="embeddings or networks in the formats of other tools")
    parser.add_argument("format", choices=["vectors", "numpy", "projector", "datasets", "onnx"])
    parser.add_argument("to", type=Path, help="a new folder")
    parser.add_argument("--node", action="append", default=[], metavar="NODE", help="this node alone; may be repeated (default: all)")
    add_run(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.explanation.metric_tree import MetricTree
    from heml.images.store import read_description

    if arguments.to.exists() and (not arguments.to.is_dir() or any(arguments.to.iterdir())):
        raise HemlError(f"{arguments.to}: exists and is not an empty folder; name a new one")
    tree = MetricTree.load(arguments.models, arguments.data)
    nodes = [tree.tree[name].name for name in arguments.node] or list(tree.tree.nodes)
    if arguments.format == "vectors":
        if arguments.node:
            raise HemlError("--node: a vector is of the whole tree; `metric.off` in params.yaml leaves parts out")
        from heml.exporting.vectors import write_vectors

        print(
            write_vectors(
                gallery_of(tree, arguments.data),
                tree.metric,
                read_description(arguments.data / "images").label_names,
                arguments.to.resolve(),
            )
        )
        return
    if arguments.format == "onnx":
        from heml.exporting.onnx_file import write_onnx

        for name in nodes:
            difference = write_onnx(tree, name, arguments.to / f"{name}.onnx")
            print(f"{arguments.to / name}.onnx  differs from torch by at most {difference:.1g}")
        return
    gallery = gallery_of(tree, arguments.data)
    names = read_description(arguments.data / "images").label_names
    if arguments.format == "datasets":
        from heml.exporting.hub_folder import write_hub_folder

        write_hub_folder(gallery, nodes, arguments.to.resolve())
    else:
        from heml.exporting.arrays import write_numpy, write_projector

        {"numpy": write_numpy, "projector": write_projector}[arguments.format](gallery, nodes, names, arguments.to.resolve())
    print(arguments.to)
