"""How long a command takes, as a ratio to `import torch` alone.

    dvc repro                                                # a finished run, which the commands are asked about
    python -m benchmarks.starting --photos PHOTOS            # about three minutes

Fresh processes of one thread, taken in turn: median CPU seconds, and wall time and CPU time over those of
`python -c "import torch"`. Two tables: what a stage takes before it does anything, and every command of `heml`, with
`dvc status` beside them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from heml.images.canvas import load_canvases
from heml.params import load_params
from heml.progress import progress
from heml.tree import Tree

IMPORT = "`import torch`"

FIRST_BATCH = """
import os, sys
import heml.learning.augment as augmentation
import heml.learning.training as training
def stop(*arguments):
    augmentation.augment(*arguments)
    os._exit(0)
training.augment = stop
import stages.train
stages.train.main(sys.argv[1])
"""


def spent(command: Sequence[str], code: int = 0) -> tuple[float, float]:
    """Wall seconds and CPU seconds of a command that ends with a status."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wall = time.perf_counter() - began
    assert done.returncode == code, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(title: str, names: Sequence[str], taken: Sequence[Mapping[str, tuple[float, float]]]) -> str:
    """A row a command: median CPU seconds, and both times over those of `IMPORT`."""
    walls, cpus = ({name: median(row[name][k] for row in taken) for name in (IMPORT, *names)} for k in range(2))
    lines = [f"| {title} | CPU s | CPU / import torch | wall / import torch |", "|---|---|---|---|"]
    for name in (IMPORT, *names):
        ratios = f"{cpus[name] / cpus[IMPORT]:.2f} | {walls[name] / walls[IMPORT]:.2f}"
        lines.append(f"| {name} | {cpus[name]:.2f} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of images for `heml init`")
    arguments = parser.parse_args()
    leaf = Tree.from_params(load_params()).leaves()[0]
    first, second = load_canvases("data/canvases").image_ids[:2]
    photos = sum(path.is_file() for path in arguments.photos.rglob("*"))
    python, beside = sys.executable, Path(sys.executable).parent
    heml = str(beside / "heml")
    program = Path("build/first_batch.py")
    program.parent.mkdir(exist_ok=True)
    program.write_text("import sys; sys.path.insert(0, '')\nimport stages\n" + FIRST_BATCH, "utf-8")
    with tempfile.TemporaryDirectory() as scratch:

        def export(what: str) -> list[str]:
            return [heml, "export", what, tempfile.mkdtemp(dir=scratch)]

        def init() -> list[str]:
            out = Path(tempfile.mkdtemp(dir=scratch)) / "params.yaml"
            return [heml, "init", str(arguments.photos), "--out", str(out)]

        starts: dict[str, Callable[[], tuple[float, float]]] = {
            "a training stage to its first batch": lambda: spent([python, str(program), leaf]),
            "a training stage of no such node": lambda: spent([python, "-m", "stages.train", "no_such_node"], 1),
            "`heml explain`, an image_id that is not there": lambda: spent([heml, "explain", "no_image", second], 1),
        }
        plain = [["--help"], *([name] for name in ("tree", "bias", "status", "datasets", "classes"))]
        commands: dict[str, Callable[[], tuple[float, float]]] = {
            f"`heml {' '.join(words)}`": lambda words=words: spent([heml, *words]) for words in plain
        } | {
            "`dvc status`": lambda: spent([str(beside / "dvc"), "status"]),
            f"`heml init`, {photos:,} files": lambda: spent(init()),
            "`heml explain`, two stored images": lambda: spent([heml, "explain", first, second]),
            "`heml neighbours`, a stored image": lambda: spent([heml, "neighbours", first]),
            "`heml export vectors`": lambda: spent(export("vectors")),
            "`heml export numpy`": lambda: spent(export("numpy")),
        }
        every = {IMPORT: lambda: spent([python, "-c", "import torch"])} | starts | commands
        taken = [
            {name: measure() for name, measure in every.items()}
            for _ in progress(range(arguments.rounds), "commands", unit="round")
        ]
    print(f"Medians of {arguments.rounds} in turn, one thread\n")
    print(table("start", list(starts), taken), table("command", list(commands), taken), sep="\n\n")


if __name__ == "__main__":
    main()
