"""`heml repro`: the outputs of `dvc repro`, whatever happens on the way."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.conftest import NODES, Project, new_project

pytestmark = pytest.mark.pipeline

SAME = ("models/", "data/")
"""Outs that hold no timings."""


def told(output: str) -> dict[str, str]:
    """Stage → what became of it."""
    return dict(re.findall(r"^\[\d+/\d+\] (\S+)  (\w+)", output, re.MULTILINE))


def ran(output: str) -> set[str]:
    return {stage for stage, outcome in told(output).items() if outcome == "ran"} - {"check"}


def test_two_at_a_time_give_the_bytes_of_one_after_another_and_a_clean_state(finished, tmp_path):
    other = new_project(tmp_path / "other")
    output = other.run("heml", "repro", "--jobs", "2")
    assert set(told(output).values()) == {"ran"}
    assert len(told(output)) == len(other.run("dvc", "stage", "list", "--name-only").split())
    assert other.hashes(*SAME) == finished.hashes(*SAME)
    assert other.run("dvc", "status").split() == ["check:", "always", "changed"]
    assert not [p for p in other.root.rglob("*.partial")]
    # unchanged stages are told at a terminal alone
    assert told(other.run("heml", "repro", "-j", "2")) == {"check": "ran"}
    other.set(tree__level_0__hair={"epochs": 2})
    path = {"train_level_0@hair", "train_level_2@all"}
    assert ran(other.run("heml", "repro", "train_level_2@all")) == path
    assert {stage for stage in other.repro() if stage.startswith("train_")} == set()


def test_a_node_that_fails_leaves_the_others_and_the_next_run_goes_on(finished, tmp_path):
    other = new_project(tmp_path / "other")
    other.set(tree__level_0__hair={"lr": 1e30})
    output = other.run("heml", "repro", "-j", "2", ok=False)
    assert "training 'hair': the loss is" in output
    assert "error: train_level_0@hair failed (see above)" in output
    assert "Traceback" not in output
    assert not (other.root / "models/nodes/hair.safetensors").exists()
    other.set(tree__level_0__hair={})
    left = other.repro()
    assert {"train_level_0@hair", "train_level_2@all"} <= left
    assert not {"download", "segment", "canvases", "manifest@hair"} & left
    assert other.hashes(*SAME) == finished.hashes(*SAME)


def test_an_interrupt_leaves_a_state_from_which_dvc_goes_on(finished, tmp_path):
    other = new_project(tmp_path / "other")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        ["heml", "repro", "-j", "2"],
        cwd=other.root,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background jobs ignore it, and hand that on
    )
    deadline = time.monotonic() + 120
    while not list(other.root.glob("data/segments/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    errors = None
    while errors is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)  # again after a while, as a person would
        with suppress(subprocess.TimeoutExpired):
            errors = process.communicate(timeout=5)[1]
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert other.repro()
    assert other.hashes(*SAME) == finished.hashes(*SAME)
    assert {p.stem for p in (other.root / "models" / "nodes").iterdir()} == NODES


def test_an_unknown_stage_or_key_is_told_before_anything_runs(project: Project):
    output = project.run("heml", "repro", "nonsense", ok=False)
    assert "nonsense" in output
    assert "dvc stage list" in output
    assert "Traceback" not in output
    project.set(train__epoch=3)
    assert "train.epoch: unknown key" in project.run("heml", "repro", ok=False)
