"""A finished run in the browser, which takes photographs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from heml.commands.common import Commands, steps
from heml.commands.screen import FAINT, PATH, Screen, add_output, text
from heml.run import Run


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("serve", help="a finished run in the browser: drop two photographs and read why")
    parser.add_argument("--port", type=port, default=0, help="on 127.0.0.1; 0 for any that is free (default: 0)")
    parser.add_argument(
        "--root", type=Path, default=Path(), help="folder of the finished run, with its params.yaml (default: .)"
    )
    add_output(parser, "the address")
    parser.set_defaults(run=run)


def port(written: str) -> int:
    """A number from 0 to 65535, as an argument."""
    if not (written.isascii() and written.isdigit() and len(written) < 6 and int(written) <= 65535):
        raise argparse.ArgumentTypeError(f"{written!r}: expected a number from 0 to 65535")
    return int(written)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    screen = Screen.of(arguments)
    with steps("page", 3) as bar:
        import starlette  # noqa: F401 (what is not installed is told before torch is imported)
        import uvicorn  # noqa: F401

        from heml.params import load_params

        params = load_params(arguments.root / "params.yaml")
        from heml.reporting.finished import Finished
        from heml.serving.server import serve

        bar.update()
        finished = Finished.read(params, Run(arguments.root))
        bar.update()

        def ready(address: str) -> None:
            bar.close()
            screen.result(text((address, PATH)))
            screen.say(
                text(("Open it in a browser on this machine. Whoever has the address may ask; Ctrl-C ends it.", FAINT))
            )
            screen.document({"address": address})
            sys.stdout.flush()  # who reads it from a pipe waits for it

        serve(finished, arguments.port, ready)
