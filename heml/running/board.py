"""The progress of all stages on one screen: what runs, how far it is, what has ended and how."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from heml.progress import FOLDER


class Ended(NamedTuple):
    """What became of a stage."""

    stage: str
    outcome: str
    """`ran`, `restored`, `unchanged` or `failed`."""
    seconds: float


class Board:
    """At a terminal a line per running stage, renewed in place; elsewhere a line when a stage has ended; silent,
    neither."""

    def __init__(self, total: int, folder: Path, silent: bool = False) -> None:
        self.total, self.folder, self.silent = total, folder, silent
        self.ended: list[Ended] = []
        self.running: dict[str, float] = {}
        self.shown = 0
        self.live = sys.stderr.isatty() and not silent

    def start(self, stage: str) -> None:
        """A stage has been given to a worker."""
        self.running[stage] = time.perf_counter()

    def end(self, stage: str, outcome: str, output: str) -> None:
        """A stage has ended; `output` is shown whole if it failed, else its last line."""
        seconds = time.perf_counter() - self.running.pop(stage)
        self.ended.append(Ended(stage, outcome, seconds))
        self._wipe()
        said = output.strip().splitlines()
        if outcome == "failed":
            print(output, file=sys.stderr)
        if (outcome != "unchanged" or self.live) and not self.silent:
            last = f"  {said[-1]}" if outcome == "ran" and said else ""
            print(f"[{len(self.ended)}/{self.total}] {stage}  {outcome}  {seconds:.1f} s{last}", flush=True)
        self.draw()

    def draw(self) -> None:
        """Renew the lines of what runs."""
        if not self.live:
            return
        self._wipe()
        width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
        lines = [
            f"  {stage}  {time.perf_counter() - since:.0f} s  {self._told(stage)}"
            for stage, since in self.running.items()
        ]
        sys.stderr.write("".join(line[:width] + "\n" for line in lines))
        sys.stderr.flush()
        self.shown = len(lines)

    def _wipe(self) -> None:
        if self.shown:
            sys.stderr.write(f"\x1b[{self.shown}A\x1b[J")
            sys.stderr.flush()
            self.shown = 0

    def _told(self, stage: str) -> str:
        try:
            return (self.folder / stage).read_text("utf-8")
        except OSError:
            return ""


@contextmanager
def board(total: int, silent: bool = False) -> Iterator[Board]:
    """A board, and the folder in which stages tell how far they are (`heml.progress`).

    Args:
        silent: show nothing but what failed.
    """
    with tempfile.TemporaryDirectory(prefix="heml-progress-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield Board(total, Path(folder), silent)
        finally:
            del os.environ[FOLDER]
