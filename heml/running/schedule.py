"""Which stage goes next: everything that waits for nothing, the one with the longest way to the end first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from heml.errors import HemlError
from heml.running.board import Board
from heml.running.plan import Plan, urgency

Outcome = tuple[str, str]
"""What became of a stage, `ran`, `restored`, `unchanged` or `failed`, and what was printed."""

Run = Callable[[str, Sequence[str]], Outcome]
"""Reproduce a stage, given those that it reads from."""

_LOOK = 0.5
"""Seconds after which the screen is renewed."""


def run_all(stages: Plan, run: Run, jobs: int, shown: Board, interrupt: Callable[[], None]) -> None:
    """Run stages, `jobs` at a time, until all have ended, one fails, or somebody interrupts.

    Args:
        interrupt: makes what runs come to an end.

    Raises:
        HemlError: a stage failed. Those that ran beside it have ended too, and none was begun after.
        KeyboardInterrupt: likewise.
    """
    left = sorted(stages, key=urgency(stages).__getitem__, reverse=True)
    busy: dict[Future[Outcome], str] = {}
    ended: set[str] = set()
    failed: list[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while busy or (left and not failed):
                ready = [s for s in left if ended.issuperset(stages[s])] if not failed else []
                for stage in ready[: jobs - len(busy)]:
                    left.remove(stage)
                    shown.start(stage)
                    busy[pool.submit(run, stage, stages[stage])] = stage
                for future in wait(busy, _LOOK, FIRST_COMPLETED).done:
                    stage = busy.pop(future)
                    outcome, output = future.result()
                    shown.end(stage, outcome, output)
                    (failed.append if outcome == "failed" else ended.add)(stage)
                shown.draw()
        except BaseException:
            interrupt()
            raise
    if failed:
        rest = f"; {len(left)} stages wait for a run that goes on from here" if left else ""
        raise HemlError(f"{', '.join(failed)} failed (see above); what ended before is kept{rest}")
