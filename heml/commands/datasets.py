"""The data sets and models of the presets."""

from __future__ import annotations

import argparse
from pathlib import Path

from heml.commands.common import Commands
from heml.commands.screen import FAINT, STRONG, Screen, add_output, text
from heml.errors import HemlError


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser(
        "datasets",
        help="the data sets and models of the presets: their size, licence and what of them is on this machine",
    )
    parser.add_argument(
        "--presets", type=Path, default=Path("presets"), help="folder of parameter files (default: presets)"
    )
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="your own parameter file (default: params.yaml)"
    )
    add_output(parser, "the presets' names")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.datasets.known import known_sources

    screen = Screen.of(arguments)
    paths = [*sorted(arguments.presets.glob("*.yaml")), *([arguments.params] if arguments.params.is_file() else [])]
    if not paths:
        raise HemlError(
            f"{arguments.presets}: no presets here; run this in a project's folder, or name theirs with --presets"
        )
    sources = []
    for source in known_sources(paths, arguments.presets.parent):
        screen.say(text((source.preset, STRONG), f": {source.title}"))
        for line in source.lines:
            key, colon, rest = line.partition(":")
            screen.say(text((f"  {key}{colon}", FAINT), rest))
        screen.say("")
        if arguments.quiet:
            screen.result(text(source.preset))
        sources.append({"preset": source.preset, "title": source.title, "lines": source.lines})
    screen.document({"presets": sources})
