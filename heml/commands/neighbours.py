"""The images nearest to one image."""

from __future__ import annotations

import argparse

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
from heml.commands.screen import FAINT, PATH, STRONG, Screen, add_output, table, text
from heml.errors import HemlError


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
        import matplotlib.pyplot as plt

        from heml.explanation.figures import grid_figure
        from heml.explanation.metric_tree import MetricTree
        from heml.explanation.neighbours import disagreements, neighbours
        from heml.explanation.pairs import digits
        from heml.images.shards import read_description

        bar.update()
        tree = MetricTree.load(arguments.models, arguments.data)
        bar.update()
        gallery = gallery_of(tree)
        node = tree.tree[arguments.node].name if arguments.node else tree.tree.root
        view = tree.view(arguments.image)
    screen = Screen.of(arguments)
    header, by = tree.headers[node], arguments.node or "the tree"
    found = neighbours(view, gallery, node if arguments.node else tree.metric, arguments.count, arguments.split)
    if not found:
        raise HemlError(f"no image{f' of {arguments.split}' if arguments.split else ''} shows anything of {node!r}")
    names = read_description(gallery.run.images).label_names
    own = gallery.embeddings[node].labels[gallery.row(view.name)] if view.name in gallery else None
    screen.say(
        text(
            "nearest to ",
            (view.name, STRONG),
            " by ",
            (by, STRONG),
            (": 0 is the same, 0.5 unrelated, 1 opposite", FAINT),
        )
    )

    def style(label: int) -> str:
        return "" if own is None else "green" if label == own else "red"

    screen.say(
        table([[digits(n.distance), n.image_id, text((names[n.label], style(n.label))), f"({n.split})"] for n in found])
    )
    if arguments.quiet:
        screen.result(*(text(n.image_id) for n in found))
    pictures = [
        (
            view.picture(tree.tree.sees(node), header.box),
            view.name if own is None else f"{view.name}\n{names[own]}",
            None,
        )
    ]
    for n in found:
        picture = gallery.view(n.row).picture(tree.tree.sees(node), header.box)
        pictures.append(
            (picture, f"{n.image_id}\n{names[n.label]}  {digits(n.distance)}", None if own is None else n.label == own)
        )
    among = (
        [node, *(tree.tree[name].name for name in arguments.against)] if arguments.against else list(tree.tree.nodes)
    )
    told = disagreements(view, gallery, among, 5, node if arguments.against else None)
    if told:
        screen.say("\nwhere nodes disagree most (share of all images that are nearer)")
    for d in told:
        near, far = ((f"{name} ({rank:.0f} %)", STRONG) for name, rank in zip((d.near, d.far), d.ranks, strict=True))
        screen.say(text(f"{d.image.image_id}: near by ", near, ", far by ", far))
    path = arguments.out / f"{file_name(view.name)}--{arguments.node or 'tree'}.png"
    figure = grid_figure(f"Nearest by {by}", pictures)
    with new_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    plt.close(figure)
    screen.say("", text((str(path), PATH)), wrap=False)
    screen.document(
        {
            "image": view.name,
            "by": arguments.node,
            "neighbours": [
                {"image_id": n.image_id, "label": names[n.label], "split": n.split, "distance": n.distance}
                for n in found
            ],
            "disagreements": [
                {"image_id": d.image.image_id, "near": d.near, "far": d.far, "percentiles": d.ranks} for d in told
            ],
            "files": [path],
        }
    )
