"""Which part tells the label in the training images alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heml.commands.common import SPLITS, Commands, run_of
from heml.commands.screen import FAINT, STRONG, WARN, Screen, add_output, table, text

if TYPE_CHECKING:
    from rich.text import Text


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser(
        "bias", help="which part tells the label in the training images alone, and whether the tree leans on it"
    )
    parser.add_argument(
        "--reports", type=Path, default=Path("reports"), help="folder, after `dvc repro bias` (default: reports)"
    )
    parser.add_argument(
        "--all", action="store_true", help="list everything that was looked at, the strongest tie first"
    )
    add_output(parser, "the parts found; nothing where there are none")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.reading import Findings, read_json

    screen = Screen.of(arguments)
    told = run_of(arguments).bias / "findings.json"
    found = read_json(told, "dvc repro bias", Findings)
    for finding in found["findings"]:
        head, colon, rest = finding["sentence"].partition(": ")
        screen.say(text((head, WARN), colon + rest))
        sides = (f"{group} → {label}" for group, label in finding["told"].items())
        screen.say(text(f"  tied in train: {', '.join(sides)}"))
        screen.say(_remedy(finding["part"], finding["kind"]))
    if arguments.quiet and found["findings"]:
        screen.result(*(text(part) for part in dict.fromkeys(finding["part"] for finding in found["findings"])))
    if not found["findings"]:
        screen.say(text(("No part tells the label in train and not in the held-out images.", "green")))
    ties = _ties(run_of(arguments).bias / "associations.csv") if arguments.all else None
    if ties is not None:
        screen.say("", table([_row(tie) for tie in ties]))
    screen.say("", text(("\n".join(found["caveats"]), FAINT)))
    screen.document(found | ({} if ties is None else {"associations": ties}))


def _remedy(part: str, kind: str) -> Text:
    if kind == "column":
        return text("  no part shows it: collect images in which it does not go with the label (docs/bias.md)")
    left_out = f"`metric: {{off: [{part}]}}` with `embed: {{hide: [{part}]}}`"
    ways = f"`recompose: {{{part}: {{}}}}`, {left_out}, or `metric: {{balance: [{part}]}}`"
    return text("  deflate it: ", (ways, STRONG), " in params.yaml (docs/bias.md)")


def _ties(path: Path) -> list[dict[str, Any]]:
    """Everything that was looked at, the strongest tie in train first."""
    from heml.reading import read_csv

    words = ("part", "kind", "follows")
    found = read_csv(path, "dvc repro bias", (*words, "suspect", *(f"v_{split}" for split in SPLITS)), words)
    found = found.sort_values("v_train", ascending=False, kind="stable")
    return [{str(key): value for key, value in row.items()} for row in found.to_dict("records")]


def _row(tie: dict[str, Any]) -> list[Text | str]:
    values = "  ".join(f"{split} {tie[f'v_{split}']:.2f}" for split in SPLITS)
    follows = tie["follows"]
    verdict = (
        text(("in train alone", WARN))
        if tie["suspect"]
        else text(f"follows {follows}" if isinstance(follows, str) else "")
    )
    return [f"{tie['part']:>20} {tie['kind']}", f"V: {values}", verdict]
