"""`heml …` for a person at a terminal: the commands put together."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import NoReturn

from heml import __version__
from heml.commands import bias, classes, datasets, explain, export, init, neighbours, repro, serve, status, tree
from heml.commands.completion import SHELLS, PrintCompletion
from heml.commands.screen import Screen, error_as_json
from heml.errors import exit_on_error

COMMANDS = (init, tree, status, repro, explain, neighbours, serve, export, bias, classes, datasets)


def _parser(typed: Sequence[str]) -> type[argparse.ArgumentParser]:
    """Parsers that say what is wrong with what was typed as a document too, where a document is asked for."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            if "--json" in typed:
                Screen(as_json=True).document({"error": f"{self.prog}: {message}"})
            super().error(message)

    return Parser


def main(argv: list[str] | None = None) -> None:
    """The command line; exits with 1 and one message on an error the user can put right."""
    typed = sys.argv[1:] if argv is None else argv
    parser = _parser(typed)(prog="heml", description="Explainable metric learning: why are two images similar?")
    parser.add_argument("--version", action="version", version=f"heml {__version__}")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=PrintCompletion,
        help="print the script by which this shell completes commands",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.add(commands)
    # importing torch makes millions of lasting objects: looking through them again and again takes 2 s
    gc.set_threshold(200_000, 50, 1000)
    with exit_on_error():
        arguments = parser.parse_args(typed)
        with error_as_json(arguments):
            arguments.run(arguments)


if __name__ == "__main__":
    main()
