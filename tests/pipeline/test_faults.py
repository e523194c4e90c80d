"""What DVC records is what was used: edits during a run, kills, names that are paths, what is removed, weights under
one path."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from heml.run import Run
from pipeline.conftest import Project

pytestmark = pytest.mark.pipeline

PAUSE = """    import pathlib, time
    pathlib.Path("beginning").write_text(str(__import__("os").getpid()))
    pathlib.Path("beginning").rename("begun")  # there once it holds the number
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
"""
"""Put into a stage's script, it makes the stage wait in its middle."""


def wait(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def halt(project: Project, script: str, before: str) -> None:
    """Make a stage wait before a line of its script."""
    path = project.root / "stages" / script
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, PAUSE + before))


def start(project: Project, *command: str) -> subprocess.Popen:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        command,
        cwd=project.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait(lambda: (project.root / "begun").exists() or process.poll() is not None)
    assert process.poll() is None, process.stdout.read()
    return process


def resume(project: Project, process: subprocess.Popen) -> str:
    (project.root / "go").touch()
    return process.communicate(timeout=120)[0]


@pytest.mark.parametrize("edit", ["param", "code", "dependency", "other"])
def test_an_edit_during_a_run_is_not_taken_for_what_was_used(project, edit):
    lock = project.hashes("models/metric.json")
    halt(project, "weigh.py", "    images = balanced(")
    process = start(project, "dvc", "repro", "weigh")
    if edit == "param":
        project.set(metric={"off": ["mouth"]})
    elif edit == "code":
        path = project.root / "heml" / "evaluation" / "weighing.py"
        path.write_text(path.read_text() + "\n# an edit\n")
    elif edit == "dependency":
        path = next((project.root / "data" / "canvases").glob("*.npy"))
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        project.set(report__pairs=1)
        path = project.root / "heml" / "evaluation" / "weighing.py"
        path.touch()  # as a checkout of the same content does
    output = resume(project, process)
    metric = project.root / "models" / "metric.json"
    if edit == "other":
        assert process.returncode == 0, output
        assert project.hashes("models/metric.json") == lock
        return
    told = {"param": "metric in params.yaml", "code": "heml/evaluation/weighing.py", "dependency": "data/canvases/"}[
        edit
    ]
    assert process.returncode != 0
    assert f"error: {told}" in output
    assert "changed while weigh ran" in output
    assert "Traceback" not in output
    assert not metric.exists()
    assert project.hashes("models/metric.json") == lock
    if edit == "param":
        assert "weigh" in project.repro("weigh")
        assert json.loads(metric.read_text())["off"] == ["mouth"]


@pytest.mark.parametrize("command", ["dvc", "heml"])
def test_a_stage_ends_with_its_dvc_and_the_next_run_goes_on(project, command):
    before = project.hashes("models/metric.json")
    halt(project, "weigh.py", "    write_metric(")
    process = start(project, command, "repro", "weigh")
    stage = int((project.root / "begun").read_text())
    assert lives(stage)
    os.kill(process.pid, signal.SIGKILL)
    wait(lambda: not lives(stage), 10)
    process.wait()
    held = set(re.findall(r'"pid": (\d+)', (project.root / ".dvc" / "tmp" / "rwlock").read_text()))
    # DVC takes a process that is not yet reaped for a living one
    wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in held))
    assert not (project.root / "models" / "metric.json").exists()
    (project.root / "go").touch()
    assert project.repro("weigh") == {"weigh"}
    assert project.hashes("models/metric.json") == before


def test_a_killed_stage_leaves_nothing_that_another_reads(project):
    before = project.hashes("data/segments")
    project.set(segments__hair__dilate=1)
    path = project.root / "heml" / "segments" / "manifest.py"
    text = path.read_text()
    line = "        for rows in each(cut,"
    path.write_text(
        text.replace(line, PAUSE.replace("    import", "        import").replace("\n    ", "\n        ") + line)
    )
    process = start(project, "dvc", "repro", "manifest@hair")
    os.kill(int((project.root / "begun").read_text()), signal.SIGKILL)
    process.communicate(timeout=60)
    assert list(project.root.glob(".unfinished/*/*"))
    assert {p.name for p in (project.root / "data" / "segments").iterdir()} == {"segment=eyes", "segment=mouth"}
    path.write_text(text)
    project.set(segments__hair__dilate=0)
    left = Run(project.root).live("nodes", "hair")
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("{}")
    project.repro("manifest")
    assert not [*project.root.glob(".unfinished/*"), *project.root.glob("reports/live/**/*.json")]
    assert project.hashes("data/segments") == before


def lock_of(project: Project) -> dict:
    return yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]


def test_what_was_removed_is_gone_and_the_lock_is_that_of_a_clean_clone(project, tmp_path):
    """The clone shares the cache alone: had a leftover been read, it would find no run in it."""
    raw = yaml.safe_load((project.root / "params.yaml").read_text())
    raw["segments"].pop("mouth")
    raw["tree"] = {f"level_{k}": {} for k in range(8)} | {
        "level_0": {"hair": {}, "eyes": {}}, "level_1": {"all": {"left": "eyes", "right": "hair"}}
    }  # fmt: skip
    (project.root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    project.repro()
    for gone in (
        "data/segments/segment=mouth",
        "models/nodes/mouth.safetensors",
        "reports/nodes/mouth.json",
        "models/nodes/face.safetensors",
    ):
        assert not (project.root / gone).exists()
    assert not [name for name in lock_of(project) if name.endswith(("@mouth", "@face"))]
    project.run("git", "commit", "-qam", "Without the mouth")
    project.run("git", "clone", "-q", str(project.root), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    (clone.root / "dvc.lock").unlink()
    shutil.copytree(project.root / "data" / "raw", clone.root / "data" / "raw", dirs_exist_ok=True)
    clone.run("dvc", "cache", "dir", "--local", str(project.root / ".dvc" / "cache"))
    assert clone.repro() == set()
    assert lock_of(clone) == lock_of(project)


NAMES = {
    "a command": "x; touch y #",
    "a quote": "x'; touch y; '",
    "two lines": "x\ntouch y",
    "outside": "../../../precious",
}


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_is_none_does_no_harm(project, tmp_path, fresh, name):
    if fresh:
        project.run("git", "clean", "-fdxq", "-e", "data/raw")
        project.run("git", "checkout", "-q", "HEAD~1", "--", ".")
    precious = [
        tmp_path / "precious" / "letter.txt",
        tmp_path / "precious.safetensors",
        project.root / "precious" / "letter.txt",
    ]
    for file in precious:
        file.parent.mkdir(exist_ok=True)
        file.write_text("dear")
    raw = yaml.safe_load((project.root / "params.yaml").read_text())
    raw["segments"][name] = {"classes": ["hair"]}
    raw["tree"]["level_0"][name] = {}
    raw["tree"]["level_3"] = {name: {"left": "all", "right": name}}
    (project.root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    targets = ([], [f"manifest@{name}"], [f"train_level_0@{name}"], ["-s", "train_level_3"], ["-s"])
    for command in [("dvc", "repro", *target) for target in targets] + [
        ("heml", "repro"),
        ("heml", "repro", "manifest"),
    ]:
        output = project.run(*command, ok=False)
        assert "precious" in output or "touch y" in output, command
        assert all(file.read_text() == "dear" for file in precious), command
        assert not list(tmp_path.rglob("y")), command


def test_new_weights_under_the_same_path_train_again(project):
    import torch

    from heml.learning.trunks import new_trunk

    weights = project.root / "own.pt"

    def save(seed: int) -> None:
        torch.manual_seed(seed)
        torch.save(new_trunk("mobilenet_v3_small").state_dict(), weights)

    save(0)
    project.set(train__weights="own.pt")
    trained = {stage for stage in project.repro("train_level_2") if stage.startswith("train_")}
    assert len(trained) == 5
    assert project.repro("train_level_2") == set()
    os.utime(weights)
    assert project.repro("train_level_2") == set()
    save(1)
    assert project.repro("train_level_2") == trained
