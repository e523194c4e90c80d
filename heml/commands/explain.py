"""Why two images are similar."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from heml.atomic import new_file
from heml.commands.common import Commands, add_out, add_run, check_images, distance, file_name
from heml.errors import HemlError, shown

if TYPE_CHECKING:
    from heml.explanation.metric_tree import MetricTree
    from heml.explanation.pairs import Explanation


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("explain", help="why two images are similar: the decision as a sum of what every part says")
    parser.add_argument("first", help="an image file, or an image_id of the data set")
    parser.add_argument("second")
    parser.add_argument(
        "--distance",
        action="append",
        default=[],
        type=distance,
        metavar="NAME",
        help="report this one too; may be repeated: snr, euclidean, cosine, l1 …",
    )
    parser.add_argument("--counterfactual", action="store_true", help="show what would have to change for the decision to turn")
    add_run(parser)
    add_out(parser, "reports/explanations")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    check_images([arguments.first, arguments.second], arguments.data)
    from heml.explanation.drawing import write_explanation
    from heml.explanation.metric_tree import MetricTree

    tree = MetricTree.load(arguments.models, arguments.data)
    explanation = tree.explain(arguments.first, arguments.second, arguments.distance)
    print(explanation)
    stem = arguments.out / f"{file_name(explanation.first.name)}--{file_name(explanation.second.name)}"
    paths = write_explanation(explanation, {name: header.box for name, header in tree.headers.items()}, stem)
    if arguments.counterfactual:
        paths.append(_counterfactual(tree, explanation, stem))
    print("\n" + "\n".join(map(str, paths)))


def _counterfactual(tree: MetricTree, explanation: Explanation, stem: Path) -> Path:
    from PIL import Image

    from heml.explanation.pairs import certainty, words
    from heml.explanation.pictures import side_by_side

    found = tree.counterfactual(explanation.first, explanation.second)
    if found is None:
        raise HemlError("no exchange of up to four parts turns the decision")
    parts = " and ".join(words(name) for name in found.segments)
    told = f"{'same' if found.log_odds > 0 else 'different'} ({certainty(found.log_odds)} %)"
    names = (shown(view.name) for view in (found.donor, explanation.first, explanation.second))
    print("\nwith the {} of {}, {} and {} are {}".format(parts, *names, told))
    path = stem.with_name(f"{stem.name}--changed.png")
    picture = side_by_side([explanation.first.canvas, found.donor.canvas, found.image.canvas])
    with new_file(path) as partial:
        Image.fromarray(picture).save(partial, "png")
    return path
