"""What a whole tree costs beside one traditional network: CPU seconds of every node stage, start-up included.

    dvc repro canvases manifest                      # with the params.yaml to be measured
    python -m benchmarks.price --seeds 3             # in turn, per seed: the tree, then the network

Runs the stages' own commands in a scratch folder: each node as `dvc repro` starts it (a fresh Python) and as `heml
repro` does (forked from a process that has imported torch), and a `traditional` baseline of the same trunk and
segments, up to its best epoch by P@1 on `val`. CPU seconds of the processes and all they started, one thread each; the
warm process counts with its imports. The tree's P@1 is its own metric's (`tree_p@1`), the network's under
`evaluate.distance`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from heml.baselines.build import baseline_images, load_baseline
from heml.evaluation.embeddings import read_all, write_embeddings
from heml.evaluation.retrieval import interval, reported, search_in
from heml.evaluation.weighing import weigh
from heml.learning.inference import embed
from heml.params import Params, load_params
from heml.run import Run
from heml.running.warm import shim
from heml.tree import Tree

NETWORK = "traditional"


def cpu_seconds() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(work: Path, stage: str, name: str, first: str = "") -> None:
    """A stage as DVC would start it, with `first` before everything else on the PATH."""
    path = os.pathsep.join([*filter(None, [first]), str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        ["python", "-m", f"stages.{stage}", name],
        cwd=work,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def grow(work: Path, tree: Tree, first: str = "") -> None:
    """Every node, children first."""
    for node in tree:
        run(work, "train", node.name, first)


def workspace(root: Path, data: Path, raw: dict[str, object]) -> Path:
    """The code, the parameters and the data as stages expect them."""
    for name in ("heml", "stages"):
        shutil.copytree(Path(name), root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "data").mkdir()
    for name in ("canvases", "segments"):
        (root / "data" / name).symlink_to((data / name).resolve())
    (root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), "utf-8")
    return root


def hits_of_tree(work: Path, params: Params) -> np.ndarray:
    """Per test image of the root, whether its nearest training image by the tree's own metric has its label."""
    tree = Tree.from_params(params)
    run = Run(work)
    write_embeddings(tree, run)
    embeddings = read_all(run.embeddings, tree)
    metric = weigh(embeddings, tree, params.metric, params.evaluate.search)
    top = embeddings[tree.root]
    return search_in(top.rows, "test", params.evaluate.search).score(
        metric.vectors(embeddings), top.labels, metric.metric
    )["p@1"]


def hits_of_network(work: Path, params: Params) -> np.ndarray:
    """The same of the traditional network."""
    settings = params.baselines[NETWORK]
    header, network = load_baseline(settings, Run(work).baseline(NETWORK), device())
    images = baseline_images(settings, header.leaves, Run(work))
    search = search_in(images.rows, "test", params.evaluate.search)
    vectors = embed(network, images, np.arange(len(images.labels)), device())
    return search.score(vectors, images.labels, reported(params.evaluate, header.distance))["p@1"]


def device() -> torch.device:

    return torch.device("cpu")


def once(raw: dict[str, object], data: Path) -> dict[str, object]:
    """One seed: what the tree costs cold and warm, what the network costs, and what each finds."""
    with tempfile.TemporaryDirectory() as folder:
        work = workspace(Path(folder), data, raw)
        params = load_params(work / "params.yaml")
        tree = Tree.from_params(params)
        began = cpu_seconds()
        grow(work, tree)
        cold = cpu_seconds() - began
        size = sum(Run(work).node(node.name).stat().st_size for node in tree)
        found = hits_of_tree(work, params)
        began = cpu_seconds()
        with shim() as first:
            grow(work, tree, str(first))
        warm = cpu_seconds() - began
        began = cpu_seconds()
        run(work, "baseline", NETWORK)
        whole = cpu_seconds() - began
        report = json.loads(Run(work).baseline_report(NETWORK).read_text())
        after = sum(row["cpu_seconds"] for row in report["history"][report["best_epoch"] + 1 :])
        return {
            "tree, dvc repro": cold,
            "tree, heml repro": warm,
            "network": whole - after,
            "network, all epochs": whole,
            "best epoch": report["best_epoch"],
            "MB": size / 1e6,
            "hits": found.tolist(),
            "network's hits": hits_of_network(work, params).tolist(),
        }


def table(rows: Sequence[dict[str, object]]) -> str:
    """Markdown: a line per seed, then the means and, over seeds and images, the scores with their intervals."""
    lines = [
        (
            "| seed | tree, `dvc repro` | tree, `heml repro` | network to its best epoch (of all) | ratio, `dvc` |"
            " ratio, `heml` |"
        ),
        "|---" * 6 + "|",
    ]
    for seed, row in enumerate(rows):
        cold, warm, network = (float(row[key]) for key in ("tree, dvc repro", "tree, heml repro", "network"))
        lines.append(
            f"| {seed} | {cold:.0f} | {warm:.0f} | {network:.0f} (epoch {row['best epoch']};"
            f" {row['network, all epochs']:.0f}) | {cold / network:.2f} | {warm / network:.2f} |"
        )
    cold, warm, network = (
        float(np.mean([row[key] for row in rows])) for key in ("tree, dvc repro", "tree, heml repro", "network")
    )
    lines.append(
        f"| mean | {cold:.0f} | {warm:.0f} | {network:.0f} | **{cold / network:.2f}** | **{warm / network:.2f}** |"
    )
    for name, key in (("whole tree", "hits"), ("network", "network's hits")):
        each = [100 * float(np.mean(row[key])) for row in rows]
        low, high = interval(np.mean([row[key] for row in rows], axis=0), 2000)
        told = ", ".join(f"{score:.1f}" for score in each)
        lines.append(f"\n{name}: P@1 {np.mean(each):.1f} ({100 * low:.1f} to {100 * high:.1f}; by seed {told})")
    return "\n".join(lines) + f"\n\nweights of all nodes: {rows[0]['MB']:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="holds canvases/ and segments/")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=25, help="of the network")
    parser.add_argument("--keep", type=Path, help="a JSON file for the rows, hits included")
    arguments = parser.parse_args()
    raw = yaml.safe_load(arguments.params.read_text("utf-8"))
    raw["baselines"] = {NETWORK: {"method": "traditional", "epochs": arguments.epochs, "validate_every": 1}}
    rows = []
    for seed in range(arguments.seeds):
        raw["train"]["seed"] = seed
        rows.append(once(raw, arguments.data))
        if arguments.keep:
            arguments.keep.write_text(json.dumps(rows), "utf-8")
    print(f"{arguments.params}, CPU seconds, network of {arguments.epochs} epochs\n")
    print(table(rows))


if __name__ == "__main__":
    main()
