"""Which stage goes when, with stages that only say so."""

import threading

import pytest

from heml.errors import HemlError
from heml.running.board import board
from heml.running.plan import urgency
from heml.running.schedule import run_all

STAGES = {"a": [], "b": [], "ab": ["a", "b"], "c": [], "abc": ["ab", "c"], "end": ["abc"]}


class Runner:
    """Notes what ran, beside what, and what had ended before."""

    def __init__(self, failing: str = "", pause: threading.Barrier | None = None) -> None:
        self.failing, self.pause = failing, pause
        self.lock = threading.Lock()
        self.running: set[str] = set()
        self.ended: list[str] = []
        self.most = 0
        self.interrupted = False

    def __call__(self, stage, below):
        with self.lock:
            assert set(below) <= set(self.ended), stage
            self.running.add(stage)
            self.most = max(self.most, len(self.running))
        if self.pause and stage in ("a", "b"):
            self.pause.wait(10)
        with self.lock:
            self.running.remove(stage)
            self.ended.append(stage)
        return ("failed", "what went wrong") if stage == self.failing else ("ran", f"{stage}: done")

    def interrupt(self) -> None:
        self.interrupted = True


def run(runner: Runner, jobs: int, stages=STAGES) -> None:
    with board(len(stages)) as shown:
        run_all(stages, runner, jobs, shown, runner.interrupt)


def test_urgency_is_the_longest_way_to_the_end_by_a_naive_search():
    def longest(stage):
        return 1 + max((longest(other) for other, below in STAGES.items() if stage in below), default=0)

    assert urgency(STAGES) == {stage: longest(stage) for stage in STAGES}


@pytest.mark.parametrize("jobs", [1, 2, 3, 8])
def test_every_stage_runs_once_after_what_it_reads(jobs):
    runner = Runner()
    run(runner, jobs)
    assert sorted(runner.ended) == sorted(STAGES)
    assert runner.most <= jobs


def test_two_that_do_not_wait_for_each_other_run_at_the_same_time():
    runner = Runner(pause=threading.Barrier(2))  # each of the two waits until the other is there
    run(runner, 2)
    assert runner.most == 2


def test_a_failure_ends_the_run_and_nothing_is_begun_after_it(capsys):
    runner = Runner(failing="ab")
    with pytest.raises(HemlError, match="ab failed .*; 2 stages wait"):
        run(runner, 1, {k: v for k, v in STAGES.items() if k != "c"} | {"abc": ["ab"]})
    assert runner.ended == ["a", "b", "ab"]
    assert "what went wrong" in capsys.readouterr().err


def test_a_stage_that_raises_interrupts_the_others():
    class Raising(Runner):
        def __call__(self, stage, below):
            raise KeyboardInterrupt

    runner = Raising()
    with pytest.raises(KeyboardInterrupt):
        run(runner, 2)
    assert runner.interrupted


def test_what_ended_is_told_a_line_each_with_the_stages_last_word(capsys):
    run(Runner(), 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(STAGES)
    assert lines[-1].startswith("[6/6] end  ran")
    assert lines[-1].endswith("end: done")
