"""docs/tutorial.md, run: its changes are made, its commands executed, and what they print is put below them.

python docs/tutorial.py        # two to three minutes on one core; rewrites the page and its picture
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGE = DOCS / "tutorial.md"
PICTURES = {"tutorial_pair.png": "reports/explanations/avatar_000124--avatar_000053.png"}
BLOCK = re.compile(r"^```(diff|console|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = ("benchmarks/", "docs/", "reports/metrics", "reports/bias", "tests/", "dvc.lock")
"""What no stage reads, or another run made."""


class Workspace:
    """A copy of the project in which the page is run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, tracked.split("\0")):
            if not name.startswith(ELSEWHERE) and (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        self.run("git init -q -b main && git add -A && git commit -qm Start")

    def run(self, command: str) -> str:
        """What a shell command prints; it must succeed, all of a pipe."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "COLUMNS": "120",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            **{
                f"GIT_{who}_{what}": "docs@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
            },
        }
        shell = ["bash", "-o", "pipefail", "-c", command]
        done = subprocess.run(
            shell, cwd=self.root, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            sys.exit(f"{command}\n{done.stdout}{done.stderr}\nexited with {done.returncode}")
        return done.stdout

    def change(self, diff: str, file: str = "params.yaml") -> None:
        """Apply a difference to a file: its lines without + must stand there once; a comment behind them in the file
        stays."""
        lines = diff.splitlines()
        old, new = ([line[1:] for line in lines if not line.startswith(sign)] for sign in "+-")
        path = self.root / file
        wanted = "\n".join(re.escape(line) + r"(?: +#.*)?" for line in old)
        found = re.findall(rf"^{wanted}$", path.read_text("utf-8"), re.MULTILINE)
        assert len(found) == 1, f"{file} has these lines {len(found)} times:\n{diff}"
        path.write_text(path.read_text("utf-8").replace(found[0], "\n".join(new)), "utf-8")


def executed(page: str, workspace: Workspace) -> str:
    """The page with what its commands print now."""
    printed = ""

    def block(found: re.Match[str]) -> str:
        nonlocal printed
        kind, body = found.groups()
        if kind == "diff":
            workspace.change(body)
        elif kind == "console":
            commands = [line for line in body.splitlines() if line.startswith("$ ")]
            body = "".join(f"{command}\n{workspace.run(command[2:])}" for command in commands)
        elif kind == "python":
            (workspace.root / "example.py").write_text(body, "utf-8")
            printed = workspace.run("python example.py")
            (workspace.root / "example.py").unlink()
        else:
            body = printed
        return f"```{kind}\n{re.sub(r' +$', '', body, flags=re.MULTILINE)}```"

    return BLOCK.sub(block, page)


def main() -> None:
    """Rewrite the page and its picture."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        page = executed(PAGE.read_text("utf-8"), workspace)
        for name, made in PICTURES.items():
            picture = Image.open(workspace.root / made).convert("RGB")
            picture.quantize(256, dither=Image.Dither.NONE).save(DOCS / name, optimize=True)
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
