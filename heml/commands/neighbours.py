"""The images nearest to one image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heml.atomic import new_file
from heml.commands.common import (
    SPLITS,
    Commands,
    add_out,
    add_run,
    check_images,
    count,
    file_name,
    gallery_of,
    run_of,
    steps,
)
from heml.commands.screen import FAINT, PATH, STRONG, WARN, Screen, add_output, table, text
from heml.errors import HemlError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from heml.explanation.neighbours import Disagreement, Neighbour
    from heml.explanation.views import Gallery, View
    from heml.learning.inputs import Box


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("neighbours", help="the images nearest to one image, by the whole or by one part")
    parser.add_argument("image", help="an image file, or an image_id of the data set")
    parser.add_argument("--node", help="compare by this node alone (default: by the whole tree)")
    parser.add_argument("--count", type=count, default=9, help="how many (default: 9)")
    parser.add_argument("--split", choices=SPLITS, help="search this split alone (default: all images)")
    parser.add_argument(
        "--against",
        action="append",
        metavar="NODE",
        help="name where --node (or the root) disagrees with this one; may be repeated (default: any two nodes)",
    )
    add_run(parser)
    add_out(parser, "reports/neighbours")
    add_output(parser, "the neighbours' image_ids, the nearest first")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    check_images([arguments.image], run_of(arguments))
    with steps("neighbours", 3) as bar:
        from heml.explanation.metric_tree import MetricTree
        from heml.explanation.neighbours import disagreements, neighbours
        from heml.explanation.pairs import SPECK, words

        bar.update()
        tree = MetricTree.load(arguments.models, arguments.data)
        bar.update()
        gallery = gallery_of(tree)
        node = tree.tree[arguments.node].name if arguments.node else tree.tree.root
        view = tree.view(arguments.image)
    found = neighbours(view, gallery, node if arguments.node else tree.metric, arguments.count, arguments.split)
    if not found:
        raise HemlError(f"no image{f' of {arguments.split}' if arguments.split else ''} shows anything of {node!r}")
    against = [node, *(tree.tree[name].name for name in arguments.against)] if arguments.against else []
    differ = disagreements(view, gallery, against or list(tree.tree.nodes), 5, node if against else None)

    asked = _Asked(view, node, arguments.node or "the tree", gallery)
    screen = Screen.of(arguments)
    _say(screen, asked, found, differ)
    pixels = int(view.seen(tree.tree.sees(node)).sum())
    if pixels <= SPECK:
        screen.say(text((f"it shows {pixels} pixels of {words(node)}: too few to compare by", WARN)))
    path = arguments.out / f"{file_name(view.name)}--{arguments.node or 'tree'}.png"
    _draw(asked, found, tree.tree.sees(node), tree.headers[node].box, path)
    screen.say("", text((str(path), PATH)), wrap=False)
    screen.document(
        {
            "image": view.name,
            "by": arguments.node,
            "neighbours": [
                {"image_id": n.image_id, "label": asked.names[n.label], "split": n.split, "distance": n.distance}
                for n in found
            ],
            "disagreements": [
                {"image_id": d.image.image_id, "near": d.near, "far": d.far, "percentiles": d.ranks} for d in differ
            ],
            "files": [path],
        }
    )


class _Asked:
    """The image that was asked about, and by what."""

    def __init__(self, view: View, node: str, by: str, gallery: Gallery) -> None:
        from heml.images.shards import read_description

        self.view, self.by, self.gallery = view, by, gallery
        self.names = read_description(gallery.run.images).label_names
        self.label = gallery.embeddings[node].labels[gallery.row(view.name)] if view.name in gallery else None
        """None for an image that is not of the data set: nothing is right or wrong beside it."""

    def right(self, neighbour: Neighbour) -> bool | None:
        """Whether a neighbour has its label."""
        return None if self.label is None else bool(neighbour.label == self.label)


def _say(screen: Screen, asked: _Asked, found: Sequence[Neighbour], differ: Sequence[Disagreement]) -> None:
    from heml.explanation.pairs import digits

    scale = (": 0 is the same, 0.5 unrelated, 1 opposite", FAINT)
    screen.say(text("nearest to ", (asked.view.name, STRONG), " by ", (asked.by, STRONG), scale))
    style = {None: "", True: "green", False: "red"}
    screen.say(
        table(
            [
                [digits(n.distance), n.image_id, text((asked.names[n.label], style[asked.right(n)])), f"({n.split})"]
                for n in found
            ]
        )
    )
    if screen.quiet:
        screen.result(*(text(n.image_id) for n in found))
    if differ:
        screen.say("\nwhere nodes disagree most (share of all images that are nearer)")
    for d in differ:
        near, far = ((f"{name} ({rank:.0f} %)", STRONG) for name, rank in zip((d.near, d.far), d.ranks, strict=True))
        screen.say(text(f"{d.image.image_id}: near by ", near, ", far by ", far))


def _draw(asked: _Asked, found: Sequence[Neighbour], leaves: Sequence[str], box: Box, path: Path) -> None:
    """The image and its neighbours as the node sees them, framed by whether they have its label."""
    import matplotlib.pyplot as plt

    from heml.explanation.figures import grid_figure
    from heml.explanation.pairs import digits

    own = "" if asked.label is None else f"\n{asked.names[asked.label]}"
    pictures: list[tuple[NDArray[np.uint8], str, bool | None]] = [
        (asked.view.picture(leaves, box), f"{asked.view.name}{own}", None)
    ]
    for n in found:
        told = f"{n.image_id}\n{asked.names[n.label]}  {digits(n.distance)}"
        pictures.append((asked.gallery.view(n.row).picture(leaves, box), told, asked.right(n)))
    figure = grid_figure(f"Nearest by {asked.by}", pictures)
    with new_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    plt.close(figure)
