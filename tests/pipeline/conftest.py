"""A copy of the project with a small tree, in which `dvc` really runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT
from PIL import Image

PARTS = ("hair", "eyes", "mouth")
NODES = {"hair", "eyes", "mouth", "face", "all"}


class Project:
    """A working copy: files to change, `dvc` to run, and what it ran."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: str, ok: bool = True) -> str:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "0"
            if "HF_ENDPOINT" in os.environ
            else "1",  # a test that serves a hub of its own says so
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@example.com",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.com",
        }
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, f"{' '.join(command)} exited with {done.returncode}:\n{output}"
        return output

    def repro(self, *arguments: str) -> set[str]:
        """Run `dvc repro` and return the stages that it really ran: not what the run cache restored, nor `check`, which
        always runs."""
        return set(re.findall(r"Running stage '([^']+)'", self.run("dvc", "repro", *arguments))) - {"check"}

    def set(self, **values: object) -> None:
        """Change parameters: keys are dotted paths with `__` for the dots."""
        path = self.root / "params.yaml"
        raw = yaml.safe_load(path.read_text())
        for dotted, value in values.items():
            section = raw
            *parents, last = dotted.split("__")
            for key in parents:
                section = section[key]
            section[last] = value
        path.write_text(yaml.safe_dump(raw, sort_keys=False))

    def hashes(self, *names: str) -> dict[str, str]:
        """Out → content hash, from dvc.lock."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text())
        outs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])}
        return {path: value for path, value in outs.items() if path.startswith(names)}


def small_params(raw: dict) -> dict:
    """A tree of three leaves: `all` joins the leaf `hair` with the inner node `face`, which stands a level higher."""
    levels = {f"level_{k}": {} for k in range(8)}
    levels["level_0"] = {name: {} for name in PARTS}
    levels["level_1"] = {"face": {"left": "eyes", "right": "mouth"}}
    levels["level_2"] = {"all": {"left": "face", "right": "hair"}}
    raw["dataset"] = {"name": "folder", "path": "data/raw", "label": "kind", "on_bad_image": "error", "seed": 0}
    raw["segmenter"] = {"source": "masks"}
    raw["segments"] = {name: {"classes": [name], "dilate": 0} for name in PARTS}
    raw["canvas"] = {"height": 32, "width": 32}
    raw["tree"] = levels
    raw["train"] |= {
        "trunk": "mobilenet_v3_small",
        "epochs": 1,
        "validate_every": 1,
        "batch_size": 8,
        "per_class": 4,
        "hidden_dim": 16,
        "embedding_dim": 8,
    }
    raw["evaluate"]["bootstrap"] = 50
    return raw


def draw_images(folder: Path, n: int = 48) -> None:
    """Faces of three coloured rectangles; the label is the colour of the hair."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    (folder / "classes.json").write_text('{"background": 0, "hair": 1, "eyes": 2, "mouth": 3}')
    lines = ["image_id,kind,split"]
    for i in range(n):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        mask = np.zeros((32, 32), np.uint8)
        mask[2:10, 4:28] = 1
        mask[13:19, 7:25] = 2
        mask[23:28, 10 : 20 + i % 3] = 3
        pixels[mask == 1] = (200, 40, 40) if i % 2 else (40, 40, 200)
        pixels[mask == 2] = (40, 200, 40) if rng.random() < (0.8 if i % 2 else 0.2) else (200, 200, 40)
        Image.fromarray(pixels).save(folder / "images" / f"{i:03d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i:03d}.png")
        lines.append(f"{i:03d},{'red' if i % 2 else 'blue'},{('train', 'train', 'val', 'test')[i // 2 % 4]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def new_project(root: Path) -> Project:
    """The tracked files of this project, as a repository of their own; without what a run of the project itself has
    staged."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        source = ROOT / name
        if source.is_file() and not name.startswith(
            ("tests/", "docs/", "benchmarks/", "reports/metrics", "reports/bias", "dvc.lock")
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, root / name)
    raw = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(small_params(raw), sort_keys=False))
    draw_images(root / "data" / "raw")
    project = Project(root)
    project.run("git", "init", "-q", "-b", "main")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "Start")
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pipeline has run once; tests copy it rather than change it."""
    project = new_project(tmp_path_factory.mktemp("finished"))
    project.repro()
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "Run")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A finished project to change."""
    root = tmp_path / "project"
    shutil.copytree(finished.root, root, symlinks=True)
    return Project(root)
