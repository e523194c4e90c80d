"""Does a run come out as the committed one? dvc.lock as it is here, against git's.

    make repro                        # ends with this
    python -m benchmarks.reproduced

Equal parameters, packages and kind of machine give equal hashes, whatever the code: an artifact that differs is named.
Exits with 1 where one does. Reports that hold timings of their own stage are left out.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.faults import TIMED

SHOW_TIMES = re.compile(rf"{TIMED.pattern}|reports/(segmenter|index\.html|plots)")
"""Outs that hold timings of their own stage, or show others'."""


def artifacts(lock: Mapping[str, Any]) -> dict[str, str]:
    """Out → content hash of a dvc.lock, but for those that hold timings."""
    outs = (out for stage in lock["stages"].values() for out in stage.get("outs", []))
    return {out["path"]: out["md5"] for out in outs if not SHOW_TIMES.match(out["path"])}


def compared(ours: Mapping[str, str], committed: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Artifacts with the committed hash, and those with another or that one of the two lacks."""
    names = sorted(ours.keys() | committed.keys())
    same = [name for name in names if ours.get(name) == committed.get(name)]
    differ = [name for name in names if ours.get(name) != committed.get(name)]
    return same, differ


def committed(path: str, root: Path) -> bytes | None:
    """A file as git has it; None where it has none."""
    done = subprocess.run(["git", "show", f"HEAD:./{path}"], cwd=root, capture_output=True)
    return None if done.returncode else done.stdout


def main(root: Path = Path()) -> int:
    lock = committed("dvc.lock", root)
    if lock is None or committed("params.yaml", root) != (root / "params.yaml").read_bytes():
        print("these are not the committed parameters: there is no run to compare with")
        return 0
    ours = artifacts(yaml.safe_load((root / "dvc.lock").read_text("utf-8")))
    same, differ = compared(ours, artifacts(yaml.safe_load(lock)))
    print(f"{len(same)} of {len(same) + len(differ)} artifacts have the hashes of the committed run")
    for name in differ:
        print(f"  {name} differs")
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())
