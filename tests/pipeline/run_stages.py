"""The commands of DVC's graph in its order, one after the other in this process: imports cost once, not once per
stage."""

import os
import runpy
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

import networkx
from dvc.repo import Repo

from heml.running import stage as frame

frame.leave = lambda: None  # the next one follows in this process

with Repo() as repo:
    stages = list(networkx.topological_sort(repo.index.graph.reverse()))
commands = [(stage.addressing, shlex.split(stage.cmd), [str(out) for out in stage.outs]) for stage in stages]

for name, (python, dash_m, module), outs in commands:
    assert (python, dash_m) == ("python", "-m"), module
    os.environ["DVC_STAGE"] = name
    for out in outs:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    missing = [out for out in outs if not Path(out).exists()]
    assert not missing, f"{name} left no {missing}"
print(len(commands), "stages ran")
