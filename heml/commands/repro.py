"""`dvc repro`, several stages at a time."""

from __future__ import annotations

import argparse

from heml.commands.common import Commands, count
from heml.commands.screen import Screen, add_output
from heml.machine import cores


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("repro", help="`dvc repro`, several stages at a time: the same results in less time")
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="STAGE",
        help="bring these up to date, with all they depend on (default: everything)",
    )
    parser.add_argument(
        "-j", "--jobs", type=count, default=min(cores(), 100), help="how many at a time (default: one per core)"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help="on the Ray cluster at this address instead (docs/scaling.md)")
    add_output(parser, "the stages that ran or came from the cache")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.params import load_params

    screen = Screen.of(arguments)
    silent = arguments.json or arguments.quiet
    load_params()  # a mistake is told before anything starts
    if arguments.ray:
        from heml.running.cluster import repro as on_ray

        ended = on_ray(arguments.targets, arguments.ray, silent)
    else:
        from heml.running.side_by_side import repro

        ended = repro(arguments.targets, arguments.jobs, silent)
    ran = [stage.stage for stage in ended if stage.outcome != "unchanged"]
    if arguments.quiet and ran:
        screen.result(*ran)
    screen.document({"stages": [stage._asdict() for stage in ended]})
