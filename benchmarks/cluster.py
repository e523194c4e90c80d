"""A level of leaves on a Ray cluster of two nodes in this machine, one of them killed in the middle: the same bytes as
serial?

    python -m benchmarks.cluster --params presets/faces.yaml      # the data set where the preset expects it

Clones what git has of this folder, prepares data up to the manifest, then trains all leaves twice from there, each with
a cache of its
own: by `dvc repro`, and by `heml repro --ray` on nodes of one core, of which the second is killed as soon as the first
    leaf is there.
Needs `heml[ray]`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from heml.params import load_params
from heml.tree import Tree


def call(folder: Path, *command: str) -> float:
    """Run a command to its end; wall seconds."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} ended with status {done.returncode}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def prepare(root: Path, params: Path, targets: Sequence[str]) -> None:
    """A project with its data prepared, its cache beside it."""
    project = root / "project"
    call(Path.cwd(), "git", "clone", "-q", ".", str(project))
    shutil.copy(params, project / "params.yaml")
    for raw in Path("data/raw").glob("*") if Path("data/raw").is_dir() else ():
        (project / "data/raw").mkdir(parents=True, exist_ok=True)
        (project / "data/raw" / raw.name).symlink_to(raw.resolve())
    call(project, "dvc", "cache", "dir", "--local", str(root / "cache"))
    call(project, "dvc", "repro", *targets)


def copy(root: Path, name: str) -> Path:
    """The project and its cache once more, apart from the first."""
    shutil.copytree(root / "project", root / name / "project", symlinks=True)
    shutil.copytree(root / "cache", root / name / "cache")
    call(root / name / "project", "dvc", "cache", "dir", "--local", str(root / name / "cache"))
    return root / name / "project"


def trained(project: Path) -> list[Path]:
    """The nodes that are there."""
    return sorted((project / "models/nodes").glob("*.safetensors"))


def weights(project: Path) -> dict[str, str]:
    """Node → hash of its file."""
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in trained(project)}


def on_cluster(project: Path, targets: Sequence[str]) -> tuple[float, int]:
    """Train on two nodes of which one dies; wall seconds, and how many leaves were there when it was killed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    spare = cluster.add_node(num_cpus=1)
    there: list[int] = []

    def kill() -> None:
        while not (found := len(trained(project))):
            time.sleep(0.05)
        cluster.remove_node(spare, allow_graceful=False)
        there.append(found)

    try:
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        seconds = call(project, "heml", "repro", "--ray", cluster.address, *targets)
        killer.join()
    finally:
        cluster.shutdown()
        shutil.rmtree(Path(tempfile.gettempdir()) / "heml-ray", ignore_errors=True)
    return seconds, there[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    leaves = Tree.from_params(load_params(arguments.params)).leaves()
    targets = [f"train_level_0@{leaf}" for leaf in leaves]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root, arguments.params, ["canvases", "manifest"])
        serial, spread = copy(root, "serial"), copy(root, "cluster")
        alone = call(serial, "dvc", "repro", *targets)
        together, there = on_cluster(spread, targets)
        same = sum(weights(spread).get(name) == value for name, value in weights(serial).items())
        print(f"{arguments.params}: {len(targets)} leaves; a node killed when {there} had been trained")
        print(
            f"`dvc repro` {alone:.0f} s, `heml repro --ray` {together:.0f} s; weights of the same bytes: {same} of"
            f" {len(weights(serial))}"
        )
        print(
            "dvc status:",
            subprocess.run(
                ["dvc", "status", *targets], cwd=spread, capture_output=True, text=True, check=True
            ).stdout.strip(),
        )


if __name__ == "__main__":
    main()
