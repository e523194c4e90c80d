"""`heml repro --ray` on a real cluster of two nodes in this machine: the outputs of `dvc repro`, even if a node
dies."""

import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest

from pipeline.conftest import Project, new_project
from pipeline.test_side_by_side import told

ray = pytest.importorskip("ray")

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(900)]

SAME = ("models/", "data/")


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one core each; what they leave is removed."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    running.spare = running.add_node(num_cpus=1)
    try:
        yield running
    finally:
        running.shutdown()
        shutil.rmtree(Path(tempfile.gettempdir()) / "heml-ray", ignore_errors=True)


def test_nodes_share_a_cache_one_dies_and_the_bytes_are_those_of_a_serial_run(cluster, finished, tmp_path):
    project = new_project(tmp_path / "project")
    project.run("dvc", "cache", "dir", "--local", str(tmp_path / "cache"))
    killed = threading.Event()

    def kill_one_that_trains() -> None:
        """As soon as a node of the tree has been trained, so that others are in the middle."""
        deadline = time.monotonic() + 300
        while not list(project.root.glob("models/nodes/*.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.05)
        cluster.remove_node(cluster.spare, allow_graceful=False)
        killed.set()

    killer = threading.Thread(target=kill_one_that_trains)
    killer.start()
    output = project.run("heml", "repro", "--ray", cluster.address)
    killer.join()
    assert killed.is_set()
    assert "failed" not in set(told(output).values())
    assert project.hashes(*SAME) == finished.hashes(*SAME)
    assert project.run("dvc", "status").split() == ["check:", "always", "changed"]
    workspaces = {path.parent.parent.name for path in (Path(tempfile.gettempdir()) / "heml-ray").glob("*/*/ready")}
    assert len(workspaces) >= 2  # both nodes did something
    assert project.repro() == set()


def test_results_travel_through_a_remote_where_no_cache_is_shared(cluster, finished, tmp_path):
    project = new_project(tmp_path / "project")
    project.run("dvc", "remote", "add", "-d", "team", str(tmp_path / "remote"))
    targets = [f"train_level_0@{name}" for name in ("hair", "eyes")]
    output = project.run("heml", "repro", "--ray", cluster.address, *targets)
    assert {stage for stage, outcome in told(output).items() if outcome == "ran"} >= set(targets)
    nodes = tuple(f"models/nodes/{name}" for name in ("hair", "eyes"))
    assert project.hashes(*nodes) == finished.hashes(*nodes)
    assert len(project.hashes(*nodes)) == 2


def test_without_shared_results_or_without_a_cluster_it_says_what_to_do(project: Project, tmp_path):
    output = project.run("heml", "repro", "--ray", "127.0.0.1:1", ok=False)
    assert "dvc cache dir --local" in output
    project.run("dvc", "cache", "dir", "--local", str(tmp_path / "cache"))
    output = project.run("heml", "repro", "--ray", "127.0.0.1:1", ok=False)
    assert "no cluster there" in output
    assert "Traceback" not in output.split("error: ")[-1]
