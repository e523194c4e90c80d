"""Which part tells the label in the training images alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from heml.commands.common import SPLITS, Commands
from heml.errors import shown


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("bias", help="which part tells the label in the training images alone, and whether the tree leans on it")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder, after `dvc repro bias` (default: reports)")
    parser.add_argument("--all", action="store_true", help="list everything that was looked at, the strongest tie first")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.reading import Findings, read_csv, read_json

    told = arguments.reports / "bias" / "findings.json"
    found = read_json(told, "dvc repro bias", Findings)
    for finding in found["findings"]:
        print(shown(finding["sentence"]))
        sides = (shown(f"{group} → {label}") for group, label in finding["told"].items())
        print(f"  tied in train: {', '.join(sides)}")
        part = finding["part"]
        ways = f"`recompose: {{{part}: {{}}}}`, `embed: {{hide: [{part}]}}` or `metric: {{balance: [{part}]}}`"
        print(f"  deflate it: {ways} in params.yaml (docs/bias.md)")
    if not found["findings"]:
        print("No part tells the label in train and not in the held-out images.")
    if arguments.all:
        print()
        columns = ("part", "kind", "follows", "suspect", *(f"v_{split}" for split in SPLITS))
        table = read_csv(arguments.reports / "bias/associations.csv", "dvc repro bias", columns, ("part", "kind", "follows"))
        for row in table.sort_values("v_train", ascending=False, kind="stable").to_dict("records"):
            values = "  ".join(f"{split} {row[f'v_{split}']:.2f}" for split in SPLITS)
            part, follows = shown(row["part"]), row["follows"]
            verdict = "in train alone" if row["suspect"] else f"follows {shown(follows)}" if isinstance(follows, str) else ""
            print(f"{part:>20} {row['kind']:<9} V: {values}  {verdict}".rstrip())
    print("\n" + "\n".join(found["caveats"]))
