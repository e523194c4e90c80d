"""docs/results/: tables as commands printed them, kept as JSON, and put into the pages, so that none is typed.

    python docs/results.py keep bias-scores bias-gaps -- python -m benchmarks.bias summary RUNS
    python docs/results.py                     # every kept table into its page, after its mark <!-- name -->

`keep` runs a command and keeps the Markdown tables that it prints, in their order, each under a name (`-`: not this
one) and with the command.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGES = Path(__file__).parent / "results"
TABLES = PAGES / "tables"
MARKED = re.compile(r"^<!-- ([a-z0-9-]+) -->\n((?:\|.*\n?)*)", re.MULTILINE)
"""A mark and the table after it."""


@dataclass(frozen=True)
class Table:
    """What a command printed."""

    command: str
    columns: list[str]
    rows: list[list[str]]

    @classmethod
    def read(cls, path: Path) -> Table:
        return cls(**json.loads(path.read_text("utf-8")))

    def write(self, path: Path) -> None:
        """A row a line, so that a change is seen in a diff."""
        rows = ",\n".join(f"    {_json(row)}" for row in self.rows)
        head = f'{{\n  "command": {_json(self.command)},\n  "columns": {_json(self.columns)},\n  "rows": [\n'
        path.write_text(f"{head}{rows}\n  ]\n}}\n", "utf-8")

    def markdown(self) -> str:
        lines = [self.columns, *self.rows]
        head, *body = (f"|{''.join(f' {cell} |' if cell else ' |' for cell in line)}" for line in lines)
        return "\n".join([head, f"|{'---|' * len(self.columns)}", *body]) + "\n"


def printed(text: str, command: str) -> Iterator[Table]:
    """The Markdown tables of a text.

    Raises:
        ValueError: a row has other cells than its head.
    """
    for found in re.findall(r"^\|.*\n\|[-:| ]+\|\n(?:\|.*(?:\n|$))*", text, re.MULTILINE):
        columns, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in found.strip().split("\n"))
        if wrong := [row for row in rows if len(row) != len(columns)]:
            raise ValueError(f"a row of {len(wrong[0])} cells under {len(columns)} columns: {wrong[0]}")
        yield Table(command, columns, rows)


def filled(page: str) -> str:
    """A page with every marked table as it is kept.

    Raises:
        FileNotFoundError: a mark whose table is not kept.
    """
    return MARKED.sub(lambda mark: f"<!-- {mark[1]} -->\n{Table.read(TABLES / f'{mark[1]}.json').markdown()}", page)


def keep(names: Sequence[str], command: Sequence[str]) -> None:
    """Run a command and keep what it prints."""
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    tables = list(printed(text, shlex.join(command)))
    if len(tables) != len(names):
        sys.exit(f"error: the command printed {len(tables)} tables; name each, or give - for one that is not kept")
    for name, table in zip(names, tables, strict=True):
        if name != "-":
            table.write(TABLES / f"{name}.json")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["keep"] and "--" in arguments:
        at = arguments.index("--")
        keep(arguments[1:at], arguments[at + 1 :])
    elif arguments:
        sys.exit(__doc__)
    for path in sorted(PAGES.glob("*.md")):
        path.write_text(filled(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
