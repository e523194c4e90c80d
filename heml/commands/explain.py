"""Why two images are similar."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heml.atomic import new_file
from heml.commands.common import Commands, add_out, add_run, check_images, distance, file_name, run_of, steps
from heml.commands.screen import FAINT, PATH, STRONG, Screen, add_output, drawing, signed_style, text

if TYPE_CHECKING:
    from rich.text import Text

    from heml.explanation.exchange import Counterfactual
    from heml.explanation.pairs import Explanation, NodeEvidence


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser(
        "explain", help="why two images are similar: the decision as a sum of what every part says"
    )
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
    parser.add_argument(
        "--counterfactual", action="store_true", help="show what would have to change for the decision to turn"
    )
    add_run(parser)
    add_out(parser, "reports/explanations")
    add_output(parser, "the files written")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    check_images([arguments.first, arguments.second], run_of(arguments))
    with steps("explanation", 3) as bar:
        from heml.explanation.drawing import write_explanation
        from heml.explanation.metric_tree import MetricTree

        bar.update()
        tree = MetricTree.load(arguments.models, arguments.data)
        bar.update()
        explanation = tree.explain(arguments.first, arguments.second, arguments.distance)
    screen = Screen.of(arguments)
    _say(screen, explanation)
    stem = arguments.out / f"{file_name(explanation.first.name)}--{file_name(explanation.second.name)}"
    files = write_explanation(explanation, {name: header.box for name, header in tree.headers.items()}, stem)
    turned = None
    if arguments.counterfactual:
        if found := tree.counterfactual(explanation.first, explanation.second):
            turned = _told(screen, explanation, found)
            files.append(_picture(explanation, found, stem))
        else:
            screen.say("\nno exchange of up to four parts turns the decision")
    screen.say("")
    screen.result(*(text((str(path), PATH)) for path in files))
    more = {"counterfactual": turned} if arguments.counterfactual else {}
    screen.document(explanation.to_dict() | more | {"files": files})


def _say(screen: Screen, explanation: Explanation) -> None:
    """The lines of `Explanation.__str__`, in the colours of the drawing."""
    decided = signed_style(explanation.log_odds)
    screen.say(
        text(f"{explanation.first.name} and {explanation.second.name}: ", (explanation.sentence, f"bold {decided}"))
    )
    total, meaning = str(explanation).splitlines()[1].split(" = ", 1)
    screen.say(text((total, f"bold {decided}"), " = ", (meaning, FAINT)))
    notes = {name: _note(node) for name, node in explanation.nodes.items()}
    screen.say(drawing(explanation.tree, notes, lambda name: (name, STRONG)))


def _note(node: NodeEvidence) -> Text:
    evidence, _, rest = str(node).partition("  ")
    return (
        text((evidence, FAINT)) if node.absence else text((evidence, signed_style(node.evidence)), ("  " + rest, FAINT))
    )


def _told(screen: Screen, explanation: Explanation, found: Counterfactual) -> dict[str, Any]:
    """Say what would have to change, and return it as JSON has it."""
    from heml.explanation.pairs import certainty, words

    parts = " and ".join(words(name) for name in found.segments)
    decision, word = ("same", "the same") if found.log_odds > 0 else ("different", "different")
    first, second, donor = explanation.first.name, explanation.second.name, found.donor.name
    told = (f"{word} ({certainty(found.log_odds)} %)", f"bold {signed_style(found.log_odds)}")
    screen.say(text(f"\nwith the {parts} of {donor}, {first} and {second} are ", told))
    return {"segments": list(found.segments), "donor": donor, "decision": decision, "log_odds": found.log_odds}


def _picture(explanation: Explanation, found: Counterfactual, stem: Path) -> Path:
    from PIL import Image

    from heml.explanation.pictures import side_by_side

    path = stem.with_name(f"{stem.name}--changed.png")
    picture = side_by_side([explanation.first.canvas, found.donor.canvas, found.image.canvas])
    with new_file(path) as partial:
        Image.fromarray(picture).save(partial, "png")
    return path
