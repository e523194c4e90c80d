"""What becomes of a run that is disturbed: kills, a full disk, damaged files, edits in the middle. The same bytes, or
one clear error?

    python -m benchmarks.faults                      # about 90 faults, a quarter of an hour on two cores
    python -m benchmarks.faults --kinds kill edit    # some of them
    python -m benchmarks.faults --kept faults        # keep the undisturbed project here, and start from it next time

Clones what git has of this folder, runs a small tree of avatars to its end, and then disturbs one stage at a time in a
copy:

- kill: `dvc`, or the stage's process, is ended by SIGKILL at a random moment; `dvc repro` then runs the stage again.
- disk: no file may grow beyond half of the stage's largest out; `dvc repro` then runs the stage again without the
  limit.
- damage: a byte of an artifact is flipped, its end is cut off, its halves or two artifacts are exchanged; a stage that
  reads it runs. The same of dvc.lock, which git has.
- edit: a parameter or a file of code changes at a random moment of a stage.

Stages run alone (`--single-item`) and nothing is in DVC's cache, or DVC would mend what it is to be tried on. An
outcome is good if the outs are those of the undisturbed run, timings aside, or if there is one error and no traceback;
`LOST` and `WRONG` are not.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from heml.running.definition import Definition, all_names, read_yaml

PARTS = ("hair", "eyes", "mouth")
KINDS = ("kill", "disk", "damage", "edit")
FULL = ("download", "canvases", "segment", "manifest@hair", "train_level_0@hair", "embed", "report")
READERS = {
    "data/images/part-*.parquet": "canvases",
    "data/canvases/canvases.npy": "train_level_0@hair",
    "data/canvases/index.parquet": "train_level_0@hair",
    "models/segmenter/*": "segment",
    "data/labelmaps/part-*.parquet": "manifest@hair",
    "data/segments/segment=*/part-*.parquet": "train_level_0@hair",
    "data/recipes/*.parquet": "train_level_0@hair",
    "models/nodes/*.safetensors": "embed",
    "data/embeddings/node=*/part-*.parquet": "weigh",
    "models/metric.json": "audit",
    "data/map.parquet": "report",
    "reports/nodes/*.json": "report",
    "reports/nodes.csv": "report",
    "reports/metrics.json": "report",
    "reports/audit/*": "report",
    "reports/segmenter.json": "report",
}
"""Artifacts of every kind, and a stage that reads them; of several the first ones in order of name."""
EDITED = {
    "train_level_0@hair": ("train", "lr", 0.002),
    "weigh": ("metric", "weights", "uniform"),
    "manifest@hair": ("canvas", "fit", "stretch"),
}
"""Stage → a parameter of its own, and another value."""
TIMED = re.compile(r"reports/(nodes/|comparison|baselines|students)")
"""Outs that hold timings of their own stage, of which it is only looked whether they are there."""


class Project:
    """A copy of the undisturbed project, disturbed and mended again and again."""

    def __init__(self, root: Path, undisturbed: Path) -> None:
        self.root, self.undisturbed = root, undisturbed
        shutil.copytree(undisturbed, root, symlinks=True)
        shutil.rmtree(root / ".dvc/cache", ignore_errors=True)

    def outs(self, stage: str) -> list[str]:
        """Of a stage."""
        pipeline, params = (
            read_yaml((self.undisturbed / name).read_bytes(), name) for name in ("dvc.yaml", "params.yaml")
        )
        return Definition.of(stage, pipeline, params).outs

    def recorded(self, stage: str) -> dict[str, Any]:
        """The parameters of a stage in dvc.lock."""
        lock = read_yaml((self.root / "dvc.lock").read_bytes(), "dvc.lock")
        found: dict[str, Any] = lock["stages"][stage]["params"]["params.yaml"]
        return found

    def start(self, stage: str, *options: str, limit: int | None = None) -> subprocess.Popen[str]:
        """`dvc repro` of one stage alone."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }
        if limit is not None:  # of the stage, not of DVC, which runs commands in this shell
            shell = self.root.parent / "limited"
            shell.write_text(f'#!/bin/sh\nulimit -f {max(limit // 512, 1)}\nexec /bin/sh "$@"\n', "utf-8")
            shell.chmod(0o755)
            environment["SHELL"] = str(shell)
        command = ["dvc", "repro", "--single-item", *options, stage]
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, stage: str, *options: str, limit: int | None = None) -> tuple[bool, str]:
        """The same to its end: whether it succeeded, and what it printed."""
        process = self.start(stage, *options, limit=limit)
        output = process.communicate()[0]
        return process.returncode == 0, output

    def same(self, stage: str) -> str:
        """What the outs of a stage are, compared with the undisturbed ones."""
        for out in self.outs(stage):
            ours, theirs = files(self.root / out), files(self.undisturbed / out)
            if ours.keys() != theirs.keys():
                return f"LOST: {out}"
            if not TIMED.match(out) and ours != theirs:
                return f"WRONG: {out} is not that of the undisturbed run"
        return "the same bytes"

    def mend(self) -> None:
        """As it was undisturbed."""
        for name in ("data", "models", "reports", "params.yaml", "dvc.lock", "heml", "stages"):
            ours, theirs = self.root / name, self.undisturbed / name
            if theirs.is_file():
                shutil.copy2(theirs, ours)
                continue
            for path in sorted(theirs.rglob("*")):
                here = ours / path.relative_to(theirs)
                if path.is_file() and (not here.is_file() or here.read_bytes() != path.read_bytes()):
                    here.parent.mkdir(parents=True, exist_ok=True)
                    here.unlink(missing_ok=True)
                    shutil.copy2(path, here)
            for path in sorted(ours.rglob("*"), reverse=True):
                if not (theirs / path.relative_to(ours)).exists() and path.is_file():
                    path.unlink()


def files(path: Path) -> dict[str, bytes]:
    """Name → content of a file or of all in a folder."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def error_of(output: str) -> str:
    """The kind of a failure."""
    if "Traceback" in output:
        return "WRONG: a traceback: " + output.strip().splitlines()[-2][:200]
    return (
        "one clear error"
        if len(re.findall("^error: ", output, re.MULTILINE)) == 1
        else f"WRONG: no clear error: {output[-300:]!r}"
    )


def stage_of(dvc: int) -> int | None:
    """The process of the stage that a `dvc` runs: its youngest descendant."""
    found, waiting = None, [dvc]
    while waiting:
        pid = waiting.pop()
        try:
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split())
        except OSError:
            continue
        found = pid if pid != dvc else found
    return found


def lives(pid: int) -> bool:
    """Whether a process is there, and not as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def prepare(folder: Path) -> float:
    """Run a small tree to its end; the seconds it takes."""
    subprocess.run(["git", "clone", "-q", ".", str(folder)], check=True)
    raw = yaml.safe_load((folder / "params.yaml").read_text("utf-8"))
    raw["dataset"] |= {"images": 90, "size": 64}
    raw["segmenter"] = {"source": "masks"}
    raw["segments"] = {name: raw["segments"][name] for name in PARTS}
    levels = {
        "level_1": {"face": {"left": "eyes", "right": "mouth"}},
        "level_2": {"all": {"left": "face", "right": "hair"}},
    }
    raw["tree"] = {f"level_{k}": {} for k in range(8)} | {"level_0": {name: {} for name in PARTS}} | levels
    raw["train"] |= {
        "trunk": "mobilenet_v3_small",
        "hidden_dim": 16,
        "embedding_dim": 8,
        "batch_size": 8,
        "per_class": 4,
    }
    raw["evaluate"]["bootstrap"] = 50
    raw["report"] |= {"overlays": 2, "pairs": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), "utf-8")
    began = time.perf_counter()
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run(["dvc", "repro", "-q"], cwd=folder, env=environment, check=True)
    return time.perf_counter() - began


def kills(project: Project, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Every stage twice: its `dvc`, then its own process."""
    pipeline, params = (read_yaml((project.root / name).read_bytes(), name) for name in ("dvc.yaml", "params.yaml"))
    for stage in all_names(pipeline, params):
        for victim in ("dvc", "stage"):
            process = project.start(stage, "--force")
            while (pid := stage_of(process.pid)) is None and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 3))
            pid = stage_of(process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid if victim == "dvc" or pid is None else pid, signal.SIGKILL)
            time.sleep(0.5)
            outlived = victim == "dvc" and pid is not None and lives(pid)
            process.communicate()
            good, output = project.run(stage)
            outcome = project.same(stage) if good else error_of(output)
            # DVC writes it in place; git has it
            if not good and re.search(r"dvc\.lock' (is invalid|validation failed)", output):
                shutil.copy2(project.undisturbed / "dvc.lock", project.root / "dvc.lock")
                good, output = project.run(stage)
                outcome = (
                    f"{project.same(stage)} once git checkout dvc.lock has mended it" if good else error_of(output)
                )
            yield f"kill {victim} of {stage}", "WRONG: the stage outlived its dvc" if outlived else outcome
            project.mend()
    left = [str(path) for path in project.root.rglob("*.partial")]
    yield "what killed processes left", f"WRONG: {left}" if left else "the same bytes"


def full_disks(project: Project) -> Iterator[tuple[str, str]]:
    """A stage that may not write its outs whole, and that stage again."""
    for stage in FULL:
        largest = max(
            len(content) for out in project.outs(stage) for content in files(project.undisturbed / out).values()
        )
        good, output = project.run(stage, "--force", limit=largest // 2)
        outcome = project.same(stage) if good else error_of(output)
        if not good and any((project.root / out).exists() for out in project.outs(stage)[:1]):
            outcome = "WRONG: a half-written out is there"
        yield f"full disk in {stage}", outcome
        good, output = project.run(stage)
        yield f"space again in {stage}", project.same(stage) if good else error_of(output)
        project.mend()


def damages(project: Project, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Every kind of artifact, flipped, cut and exchanged."""
    for pattern, stage in READERS.items():
        key = stage.partition("@")[2]
        found = sorted(path for path in project.root.glob(pattern) if path.is_file())
        own = [path for path in found if key and re.search(rf"\b{key}\b", str(path))] or found
        if not own:
            yield f"damage to {pattern}", "WRONG: no such artifact"
            continue
        path, others = own[0], [path for path in found if path != own[0]]
        content = path.read_bytes()
        at = chance.randrange(len(content) // 4, max(len(content) * 3 // 4, len(content) // 4 + 1))
        half = len(content) // 2
        changed = {
            "a byte flipped": content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :],
            "the end cut off": content[: len(content) * 2 // 3],
            "exchanged": others[0].read_bytes()
            if others and others[0].suffix == path.suffix
            else content[half:] + content[:half],
        }
        for what, damaged in changed.items():
            path.unlink()
            path.write_bytes(damaged)
            good, output = project.run(stage)
            if good and damaged != content and project.same(stage) != "the same bytes":
                outcome = "WRONG: accepted"
            else:
                outcome = "the same bytes" if good else error_of(output)
            yield f"{path.relative_to(project.root)}: {what}, {stage}", outcome
            project.mend()
    lock = project.root / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[: len(whole) // 2])
    good, output = project.run("report")
    # DVC's own words; half of it may be valid, and what it lacks runs again
    told = "dvc.lock" in output and "Traceback" not in output
    outcome = project.same("report") if good else "one clear error" if told else f"WRONG: {output[-300:]!r}"
    yield "dvc.lock: the end cut off, report", outcome
    lock.write_bytes(whole)
    good, output = project.run("report")
    yield "dvc.lock: as git has it, report", project.same("report") if good else error_of(output)


def edits(project: Project, chance: random.Random) -> Iterator[tuple[str, str]]:
    """A parameter and a file of code, each at random moments: never are the old outs recorded with the new value."""
    for stage, (section, key, value) in EDITED.items():
        for what in ("parameter", "code", "parameter", "code"):
            process = project.start(stage, "--force")
            while stage_of(process.pid) is None and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 2.5))
            if what == "parameter":
                raw = yaml.safe_load((project.root / "params.yaml").read_text("utf-8"))
                raw[section][key] = value
                (project.root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), "utf-8")
            else:
                script = (
                    project.root / "stages" / f"{'train' if stage.startswith('train') else stage.partition('@')[0]}.py"
                )
                script.write_text(script.read_text("utf-8") + "\n# an edit\n", "utf-8")
            output = process.communicate()[0]
            if process.returncode:
                yield f"edit of a {what} in {stage}", error_of(output)
            elif what == "parameter" and project.recorded(stage)[section][key] == value:
                used = {out: files(project.root / out) for out in project.outs(stage)}
                project.run(stage, "--force")
                same = all(TIMED.match(out) or files(project.root / out) == content for out, content in used.items())
                yield (
                    f"edit of a {what} in {stage}",
                    "the same bytes" if same else "WRONG: the new value beside the old outs",
                )
            else:  # it came when DVC had looked
                yield f"edit of a {what} in {stage}", project.same(stage)
            project.mend()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, help="folder of the undisturbed project")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    chance = random.Random(args.seed)
    outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="heml-faults-") as folder:
        undisturbed = (args.kept or Path(folder) / "undisturbed").resolve()
        if not undisturbed.exists():
            print(f"the undisturbed run takes {prepare(undisturbed):.0f} s", flush=True)
        for kind in args.kinds:
            project = Project(Path(folder) / kind, undisturbed)
            tried = {
                "kill": lambda p: kills(p, chance),
                "disk": full_disks,
                "damage": lambda p: damages(p, chance),
                "edit": lambda p: edits(p, chance),
            }[kind](project)
            for fault, outcome in tried:
                print(f"{fault}: {outcome}", flush=True)
                outcomes[kind, outcome.partition(":")[0]] += 1
    print(
        "\n| fault | outcome | times |\n|---|---|---|\n"
        + "\n".join(f"| {k} | {o} | {n} |" for (k, o), n in sorted(outcomes.items()))
    )
    if bad := sum(n for (_, outcome), n in outcomes.items() if outcome in ("WRONG", "LOST")):
        sys.exit(f"error: {bad} faults did harm, or were told unclearly; see above")


if __name__ == "__main__":
    main()
