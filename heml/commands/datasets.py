"""The data sets and models of the presets."""

from __future__ import annotations

import argparse
from pathlib import Path

from heml.commands.common import Commands
from heml.errors import HemlError, shown


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser(
        "datasets", help="the data sets and models of the presets: their size, licence and what of them is on this machine"
    )
    parser.add_argument("--presets", type=Path, default=Path("presets"), help="folder of parameter files (default: presets)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="your own parameter file (default: params.yaml)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.datasets.known import known_sources

    paths = [*sorted(arguments.presets.glob("*.yaml")), *([arguments.params] if arguments.params.is_file() else [])]
    if not paths:
        raise HemlError(f"{arguments.presets}: no presets here; run this in a project's folder, or name theirs with --presets")
    for source in known_sources(paths, arguments.presets.parent):
        print(f"{source.preset}: {shown(source.title)}")
        for line in source.lines:
            print(f"  {shown(line)}")
        print()
