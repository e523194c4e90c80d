"""How long a command takes before it does anything, as a ratio to `import torch` alone.

    dvc repro                                # a finished run, for `heml explain`
    python -m benchmarks.starting            # about two minutes

CPU seconds of fresh processes of one thread, taken in turn, medians:

- a training stage from its start to the first batch, given to the network;
- `heml explain` of two stored images, and of an image_id that is not there;
- a training stage of a node that is not there.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from heml.images.canvas import load_canvases
from heml.params import load_params
from heml.tree import Tree

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


def cpu(command: Sequence[str], code: int = 0) -> float:
    """CPU seconds of a command that ends with a status."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    leaf = Tree.from_params(load_params()).leaves()[0]
    first, second = load_canvases("data/canvases").image_ids[:2]
    python, heml = sys.executable, str(Path(sys.executable).with_name("heml"))
    program = Path("build/first_batch.py")
    program.parent.mkdir(exist_ok=True)
    program.write_text("import sys; sys.path.insert(0, '')\nimport stages\n" + FIRST_BATCH, "utf-8")
    commands = {
        "import torch": lambda: cpu([python, "-c", "import torch"]),
        "a training stage to its first batch": lambda: cpu([python, str(program), leaf]),
        "heml explain, two stored images": lambda: cpu([heml, "explain", first, second]),
        "heml explain, an image_id that is not there": lambda: cpu([heml, "explain", "no_such_image", second], code=1),
        "a training stage of no such node": lambda: cpu([python, "-m", "stages.train", "no_such_node"], code=1),
    }
    taken = [{name: measure() for name, measure in commands.items()} for _ in range(rounds)]
    medians = {name: median(row[name] for row in taken) for name in commands}
    print(f"CPU seconds, median of {rounds} in turn\n\n| | s | / import torch |\n|---|---|---|")
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.2f} | {seconds / medians['import torch']:.2f} |")


if __name__ == "__main__":
    main()
