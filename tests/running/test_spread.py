"""Calls across cores: `map`'s results in `map`'s order, each by a process of one thread, and its errors."""

import os
import re

import pytest
import torch
import yaml
from conftest import ROOT

from heml.errors import HemlError
from heml.running import spread
from heml.running.cluster import SPREAD


def whereabouts(item: int) -> tuple[int, int, int]:
    return item, os.getpid(), torch.get_num_threads()


def refuse(item: int) -> int:
    if item == 3:
        raise HemlError(f"item {item} is bad")
    return item


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("cores", "gpus", "processes"), [(3, [], 3), (1, [], 1), (3, ["0"], 1)])
def test_results_come_in_order_from_as_many_processes_as_there_are_cores(monkeypatch, cores, gpus, processes):
    monkeypatch.setattr(spread, "cores", lambda: cores)
    monkeypatch.setattr(spread, "visible_gpus", lambda: gpus)
    found = list(spread.across_cores(whereabouts, range(40)))
    assert [item for item, _, _ in found] == list(range(40))
    assert {threads for _, _, threads in found} == {1}
    pids = {pid for _, pid, _ in found}
    assert len(pids) <= processes
    assert (os.getpid() in pids) == (processes == 1)


def test_an_error_is_told_as_it_is(monkeypatch):
    monkeypatch.setattr(spread, "cores", lambda: 2)
    monkeypatch.setattr(spread, "visible_gpus", lambda: [])
    with pytest.raises(HemlError, match="item 3 is bad"):
        list(spread.across_cores(refuse, range(8)))


def test_without_a_cluster_nodes_are_this_process():
    assert {pid for _, pid, _ in spread.across_nodes(whereabouts, range(3))} == {os.getpid()}


def test_a_cluster_knows_every_stage_that_hands_out_work():
    """One that it does not know would hold a core and wait for another."""
    scripts = [path for path in (ROOT / "stages").glob("*.py") if "running.spread" in path.read_text("utf-8")]
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    names = {
        name
        for name, stage in pipeline.items()
        for path in scripts
        if re.search(rf"stages\.{path.stem}\b", stage.get("cmd", stage.get("do", {}).get("cmd", "")))
    }
    assert names == set(SPREAD)
