"""Embeddings or networks in the formats of other tools."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from heml.commands.common import Commands, add_run, gallery_of, run_of
from heml.commands.screen import PATH, Screen, add_output, text
from heml.errors import HemlError
from heml.progress import progress

if TYPE_CHECKING:
    from heml.explanation.metric_tree import MetricTree


FORMATS = {
    "vectors": "one vector per image, for any vector database: a dot product that ranks as the tree does",
    "numpy": "embeddings as arrays",
    "projector": "embeddings and thumbnails for TensorBoard's projector",
    "datasets": "images, labels and embeddings for Hugging Face `datasets`",
    "fiftyone": "images with their segments, embeddings, and what the tree says and gets wrong, for FiftyOne",
    "onnx": "a network per node",
    "hub": "a model repository for the Hugging Face hub, with its card; `MetricTree.from_pretrained` opens it",
}
WHOLE = ("vectors", "hub")
"""Formats of the whole tree."""


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("export", help="a finished run in the formats of other tools")
    formats = parser.add_subparsers(dest="format", required=True, metavar="format")
    for name, told in FORMATS.items():
        own = formats.add_parser(name, help=told, description=told[0].upper() + told[1:])
        own.add_argument("to", type=Path, help="a new folder")
        if name not in WHOLE:
            own.add_argument(
                "--node",
                action="append",
                default=[],
                metavar="NODE",
                help="this node alone; may be repeated (default: all)",
            )
        if name in ("hub", "fiftyone"):
            own.add_argument(
                "--params", type=Path, default=Path("params.yaml"), help="parameters of the run (default: params.yaml)"
            )
        if name == "hub":
            own.add_argument(
                "--licence",
                default="other",
                help="of the weights: mit, cc-by-4.0 … (default: other, the terms in the card)",
            )
            own.add_argument(
                "--reports", type=Path, default=Path("reports"), help="folder of its reports (default: reports)"
            )
        add_run(own)
        add_output(own, "the files or the folder written")
        own.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.explanation.metric_tree import MetricTree
    from heml.images.shards import read_description

    if arguments.to.exists() and (not arguments.to.is_dir() or any(arguments.to.iterdir())):
        raise HemlError(f"{arguments.to}: exists and is not an empty folder; name a new one")
    screen = Screen.of(arguments)
    tree = MetricTree.load(arguments.models, arguments.data)
    nodes = [tree.tree[name].name for name in getattr(arguments, "node", [])] or list(tree.tree.nodes)
    if arguments.format == "onnx":
        _onnx(screen, tree, nodes, arguments.to)
        return
    if arguments.format == "hub":
        _hub(screen, tree, arguments)
        return
    gallery = gallery_of(tree)
    names = read_description(gallery.run.images).label_names
    if arguments.format == "vectors":
        from heml.exporting.vectors import write_vectors

        screen.say(write_vectors(gallery, tree.metric, names, arguments.to.resolve()))
    elif arguments.format == "datasets":
        from heml.exporting.hub_folder import write_hub_folder

        write_hub_folder(gallery, nodes, arguments.to.resolve())
    elif arguments.format == "fiftyone":
        from heml.exporting.fiftyone_folder import write_fiftyone
        from heml.params import load_params

        write_fiftyone(gallery, tree.metric, nodes, load_params(arguments.params).evaluate, arguments.to.resolve())
    else:
        from heml.exporting.arrays import write_numpy, write_projector

        {"numpy": write_numpy, "projector": write_projector}[arguments.format](
            gallery, nodes, names, arguments.to.resolve()
        )
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
        written.append({"node": name, "file": path, "difference": difference})
    for network in written:
        screen.say(
            text((str(network["file"]), PATH), f"  differs from torch by at most {network['difference']:.1g}"),
            wrap=False,
        )
        if screen.quiet:
            screen.result(text(str(network["file"])))
    screen.document({"format": "onnx", "to": to, "networks": written})


def _hub(screen: Screen, tree: MetricTree, arguments: argparse.Namespace) -> None:
    from heml.exporting.model_repo import write_model_repo

    masks = write_model_repo(tree, run_of(arguments), arguments.params, arguments.to.resolve(), arguments.licence)
    screen.result(text((str(arguments.to), PATH)))
    if masks:
        screen.say(
            "The run took its data set's own masks: what opens this explains views that bring their masks, and no image"
            " files."
        )
    screen.document({"format": "hub", "to": arguments.to, "nodes": list(tree.tree.nodes), "segmenter": not masks})
