"""Embeddings or networks in the formats of other tools."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from heml.commands.common import Commands, add_run, gallery_of
from heml.commands.screen import PATH, Screen, add_output, text
from heml.errors import HemlError
from heml.progress import progress

if TYPE_CHECKING:
    from heml.explanation.metric_tree import MetricTree


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("export", help="embeddings or networks in the formats of other tools")
    parser.add_argument("format", choices=["vectors", "numpy", "projector", "datasets", "onnx"])
    parser.add_argument("to", type=Path, help="a new folder")
    parser.add_argument("--node", action="append", default=[], metavar="NODE", help="this node alone; may be repeated (default: all)")
    add_run(parser)
    add_output(parser, "the files or the folder written")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.explanation.metric_tree import MetricTree
    from heml.images.store import read_description

    if arguments.to.exists() and (not arguments.to.is_dir() or any(arguments.to.iterdir())):
        raise HemlError(f"{arguments.to}: exists and is not an empty folder; name a new one")
    screen = Screen.of(arguments)
    tree = MetricTree.load(arguments.models, arguments.data)
    nodes = [tree.tree[name].name for name in arguments.node] or list(tree.tree.nodes)
    if arguments.format == "onnx":
        _onnx(screen, tree, nodes, arguments.to)
        return
    if arguments.format == "vectors" and arguments.node:
        raise HemlError("--node: a vector is of the whole tree; `metric.off` in params.yaml leaves parts out")
    gallery = gallery_of(tree, arguments.data)
    names = read_description(arguments.data / "images").label_names
    if arguments.format == "vectors":
        from heml.exporting.vectors import write_vectors

        screen.say(write_vectors(gallery, tree.metric, names, arguments.to.resolve()))
    elif arguments.format == "datasets":
        from heml.exporting.hub_folder import write_hub_folder

        write_hub_folder(gallery, nodes, arguments.to.resolve())
    else:
        from heml.exporting.arrays import write_numpy, write_projector

        {"numpy": write_numpy, "projector": write_projector}[arguments.format](gallery, nodes, names, arguments.to.resolve())
    if arguments.format != "vectors" or arguments.quiet:
        screen.result(text((str(arguments.to), PATH)))
    screen.document({"format": arguments.format, "to": arguments.to, "nodes": nodes})


def _onnx(screen: Screen, tree: MetricTree, nodes: list[str], to: Path) -> None:
    from heml.exporting.onnx_file import write_onnx

    written = []
    for name in progress(nodes, "networks", unit="node"):
        path = to / f"{name}.onnx"
        with warnings.catch_warnings():  # two inputs share the number of images; the exporter tells so of every network
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used", UserWarning)
            difference = write_onnx(tree, name, path)
        screen.say(text((str(path), PATH), f"  differs from torch by at most {difference:.1g}"), wrap=False)
        if screen.quiet:
            screen.result(text(str(path)))
        written.append({"node": name, "file": path, "difference": difference})
    screen.document({"format": "onnx", "to": to, "networks": written})
