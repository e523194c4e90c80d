"""What the segmenter found, and segments and a tree to start from."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from heml.commands.common import Commands, fraction, run_of
from heml.commands.screen import FAINT, Screen, add_output, table, text
from heml.errors import HemlError
from heml.meant import meant


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser(
        "classes", help="what the segmenter found in your images, and segments and a tree to start from"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of the data, after `dvc repro segment` (default: data)"
    )
    parser.add_argument(
        "--least", type=fraction, default=0.1, help="propose classes in this fraction of the images (default: 0.1)"
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="CLASS", help="leave this class out; may be repeated"
    )
    add_output(parser, "the `segments` and `tree` sections")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.commands.tree import HOW, as_json, joined_by
    from heml.segments.coverage import proposed_segments, segments_yaml
    from heml.starting.growing import join
    from heml.starting.parts import measured, part_of
    from heml.tree import to_yaml

    screen = Screen.of(arguments)
    where = run_of(arguments)
    classes, found = measured(where.images, where.labelmaps)
    parts = {name: part_of(name, found, [number]) for name, number in classes.items()}
    coverage = sorted((part.coverage for part in parts.values()), key=lambda c: (-c.present, c.name))
    rows = [(c.name, f"{c.present:6.1%}", f"{c.area:9.2%}") for c in coverage if c.present]
    screen.say(table(rows, ("class", "images", "mean area (of the image, where it is there)")))
    if absent := [c.name for c in coverage if not c.present]:
        screen.say(text((textwrap.fill(f"in no image: {', '.join(absent)}", 120), FAINT)))
    names = [c.name for c in coverage]
    unknown = [name for name in arguments.without if name not in names]
    if unknown:
        raise HemlError(
            f"--without: unknown {', '.join(unknown)}; the classes are those above{meant(unknown[0], names)}"
        )
    segments = proposed_segments(coverage, arguments.least, arguments.without)
    tree, placed = None, False
    if len(segments) >= 2:
        places = {name: place for name, c in segments.items() if (place := parts[c.name].place)}
        tree, placed = join(list(segments), places, {name: c.area for name, c in segments.items()})
    screen.document(
        {
            "classes": [{"name": c.name, "present": c.present, "area": c.area} for c in coverage],
            "segments": {name: found.name for name, found in segments.items()},
            "tree": as_json(tree) | {"joined_by": joined_by(placed)} if tree else None,
        }
    )
    if tree is None:
        screen.say(
            f"\nfewer than two classes are in {arguments.least:.0%} of the images: no tree to propose; lower --least"
        )
        return
    said = f"# For params.yaml: the classes in at least {arguments.least:.0%} of the images, joined {HOW[placed]}."
    screen.say(text((f"\n{said}", FAINT)))
    screen.result(text("\n".join(segments_yaml(segments))), "", to_yaml(tree))
