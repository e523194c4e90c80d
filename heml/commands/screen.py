"""What a command shows: colours at a terminal, the same words without them in a pipe, one JSON document, or the bare
result."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from heml.errors import shown, told
from heml.json_file import to_json

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree as Drawing

    from heml.tree import Tree

Part = str | tuple[str, str]
"""Text, or text and its style."""

FOR, AGAINST, FAINT, STRONG, WARN, PATH = "blue", "red", "dim", "bold", "bold yellow", "cyan"
"""Styles: evidence for one label and against it as in the drawings, what stands beside the point, the point, a warning,
a file."""

ENDLESS = 100_000
"""Columns of a pipe: nothing wraps."""


def add_output(parser: argparse.ArgumentParser, result: str) -> None:
    """`--json` and `--quiet`.

    Args:
        result: what `--quiet` prints.
    """
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--json", action="store_true", help="print one JSON document; what is unknown is null")
    kinds.add_argument("--quiet", action="store_true", help=f"print only {result}")


@contextmanager
def error_as_json(arguments: argparse.Namespace) -> Iterator[None]:
    """With `--json`, an error that a user can act on is the document: `{"error": …}`. It is raised all the same."""
    try:
        yield
    except Exception as error:
        if getattr(arguments, "json", False) and (line := told(error)):
            Screen(as_json=True).document({"error": line})
        raise


def coloured() -> bool:
    """Whether standard output is a terminal that wants colours (NO_COLOR, TERM)."""
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    )


def text(*parts: Part) -> Text:
    """One piece of text of several styles; what is in it is never markup, and what would control a terminal is
    U+FFFD."""
    from rich.text import Text

    found = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        found.append(shown(words, "\n"), style)
    return found


def signed_style(value: float) -> str:
    """The colour of evidence."""
    return FOR if value > 0 else AGAINST if value < 0 else ""


def table(rows: Iterable[Sequence[Text | str]], header: Sequence[str] = (), right: Sequence[int] = ()) -> Table:
    """Aligned columns, two blanks between them.

    Args:
        right: numbers of the columns that end alike, as numbers do.
    """
    from rich.table import Table

    rows = [[text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(header), header_style=STRONG)
    for k in range(len(header) or max(map(len, rows), default=0)):
        found.add_column(text(header[k]) if header else "", justify="right" if k in right else "left", overflow="fold")
    for row in rows:
        found.add_row(*row)
    return found


def drawing(
    tree: Tree, notes: Mapping[str, Text] | None = None, name: Callable[[str], Part] = lambda name: name
) -> Drawing:
    """A tree with a note beside every node, line by line as `Tree.draw` has it."""
    from rich.tree import Tree as Drawing

    class Close(Drawing):
        TREE_GUIDES = [("   ", "│  ", "├─ ", "└─ ")] * 3
        ASCII_GUIDES = ("   ", "|  ", "+- ", "`- ")

    def label(node: str) -> Text:
        note = (notes or {}).get(node)
        return text(name(node), "  ").append_text(note) if note else text(name(node))

    found = Close(label(tree.root), guide_style=FAINT)
    above: list[Drawing] = [found]
    for node, depth in list(tree.depth_first())[1:]:
        del above[depth:]
        above.append(above[-1].add(label(node.name)))
    return found


class _Shown:
    """A renderable whose text is `shown`, whatever made it; control codes that are rich's own stay."""

    def __init__(self, inner: RenderableType) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for words, style, control in console.render(self.inner, options):
            yield Segment(words if control else shown(words, "\n"), style, control)


class Screen:
    """Where a command shows what it found: `say` is for people, `result` for people and scripts, `document` for
    programs."""

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self._console: Console | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Screen:
        """As the arguments of `add_output` say."""
        return cls(arguments.json, arguments.quiet)

    def say(self, *things: RenderableType, wrap: bool = True) -> None:
        """Show to a person.

        Args:
            wrap: break long lines between words, at a terminal; false where they are to be copied.
        """
        if not (self.as_json or self.quiet):
            self._print(things, wrap)

    def result(self, *things: RenderableType) -> None:
        """Show what `--quiet` is to leave, at a terminal as in a script."""
        if not self.as_json:
            self._print(things, wrap=False)

    def document(self, found: Mapping[str, Any]) -> None:
        """The whole of the result, for `--json`."""
        if self.as_json:
            print(to_json(found))

    def _print(self, things: Sequence[RenderableType], wrap: bool) -> None:
        for thing in things or ("",):
            if not coloured():
                print(_in_a_pipe(thing))
                continue
            self._console = self._console or _console(sys.__stdout__)
            self._console.print(_Shown(thing), soft_wrap=not wrap)


def _console(file: Any, **options: Any) -> Console:
    from rich.console import Console

    return Console(file=file, markup=False, emoji=False, highlight=False, **options)


def _in_a_pipe(thing: RenderableType) -> str:
    if isinstance(thing, str):
        return thing
    file = io.StringIO()
    _console(file, width=ENDLESS, color_system=None, force_terminal=False, _environ={}).print(
        _Shown(thing), soft_wrap=False
    )
    return "\n".join(line.rstrip() for line in file.getvalue().removesuffix("\n").split("\n"))
