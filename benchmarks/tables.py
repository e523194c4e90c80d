"""The paper's Table I and the ablations: whole trees grown under settings that differ in one thing, side by side.

    dvc repro canvases manifest              # with the params.yaml whose tree is to be grown
    python -m benchmarks.tables losses       # Table I: the seven losses of the paper
    python -m benchmarks.tables init --seeds 3
    python -m benchmarks.tables bottom-up --seeds 3
    python -m benchmarks.tables --variants mine.yaml    # your own: name → {key of `train`: value}
    python -m benchmarks.tables losses --root-alone     # without the tree: deep metric learning as usual

Each variant is `train` of params.yaml with its own keys; what `tree` sets for single nodes stays, but for the keys of
the variant. Trees share the nodes that come out the same (the leaves of all initialisations, say), and `--jobs`
processes of one thread train nodes that do not wait for one another. Every finished node is kept in `--work`, so that a
run that was cut goes on, and a new variant costs only its own nodes. A loss that is not finite ends the run with an
error.

P@1 on `test` under the distance of each node's loss, neighbours in `train`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from heml.atomic import new_file
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.retrieval import floors, interval, score, search_in
from heml.evaluation.weighing import weigh
from heml.learning import node as node_module
from heml.learning.checkpoints import load_header, load_network, load_state, save_node, untrained
from heml.learning.inference import embed
from heml.learning.inputs import NodeImages, compose
from heml.learning.networks import MetricNetwork, new_network
from heml.learning.training import train_node
from heml.params import Metric, Params, Train, load_params
from heml.progress import progress
from heml.run import Run
from heml.tree import Node, Tree

CPU = torch.device("cpu")

OWN_START = "(own start)"
NO_BATCHNORM = "(BatchNorm averaged)"
SHORTER = "(half the epochs above the leaves)"
"""Variants that no parameter offers, as keys of a variant: every leaf from an initialisation of its own; BatchNorm
statistics as averaged, not measured anew; inner nodes with half of their epochs, at least one."""

LEAVES, INNER, ROOT = "(leaves)", "(inner)", "(root)"
"""Keys of a variant: what the leaves, the nodes between, and the root have of their own."""


def special_of(variant: Mapping[str, Any]) -> tuple[str, ...]:
    """A variant's keys that no parameter offers."""
    return tuple(key for key in variant if key.startswith("(") and key not in (LEAVES, INNER, ROOT))


STUDIES: dict[str, dict[str, dict[str, Any]]] = {
    "losses": {
        "triplet margin": {"loss": "triplet_margin"},
        "angular": {"loss": "angular"},
        "multi-similarity": {"loss": "multi_similarity"},
        "NT-Xent": {"loss": "ntxent"},
        "SNR": {"loss": "snr"},
        "proxy anchor": {"loss": "proxy_anchor"},
        "sub-center ArcFace": {"loss": "subcenter_arcface"},
    },
    "init": {"average": {"init": "average"}, "scratch": {"init": "scratch"}, "best child": {"init": "best_child"}},
    "bottom-up": {
        "average": {"init": "average"},
        "scratch": {"init": "scratch"},
        "leaves from initialisations of their own": {"init": "average", OWN_START: True},
        "BatchNorm averaged, not measured anew": {"init": "average", NO_BATCHNORM: True},
        "weighted by P@1 on val": {"init": "average", "weighting": "val_p1"},
        "weighted by area": {"init": "average", "weighting": "area"},
        "half the epochs above the leaves": {"init": "average", SHORTER: True},
        "scratch, half the epochs above the leaves": {"init": "scratch", SHORTER: True},
        "no warm-up": {"init": "average", "warmup": 0.0},
        "long warm-up (0.5)": {"init": "average", "warmup": 0.5},
    },
}


@dataclass(frozen=True)
class Job:
    """One node of one tree. Equal keys are equal nodes."""

    key: str
    node: Node
    settings: Train
    special: tuple[str, ...]
    below: tuple[str, ...]
    """Keys of the children."""
    alone: tuple[str, ...] = ()
    """The leaves of a root that is trained alone, without the tree below it."""


def settings_of(params: Params, node: str, variant: Mapping[str, Any], seed: int) -> Train:
    """The node's training parameters under a variant: `train`, the node's own, the variant."""
    own: dict[str, Any] = params.node(node).model_dump()
    if "loss" in variant:  # what belongs to the other loss
        own |= {"miner": None, "distance": None, "margin": None, "loss_options": {}}
    return Train.model_validate(own | {k: v for k, v in variant.items() if not k.startswith("(")} | {"seed": seed})


def jobs_of(params: Params, variant: Mapping[str, Any], seed: int, root_alone: bool) -> dict[str, Job]:
    """Node → job, for a whole tree or its root."""
    tree = Tree.from_params(params)
    special = special_of(variant)
    inputs = {name: segment.model_dump() for name, segment in params.segments.items()} | {
        "canvas": params.canvas.model_dump()
    }
    if root_alone:
        settings = settings_of(params, tree.root, {**variant, **variant.get(ROOT, {}), "init": "scratch"}, seed)
        return {
            tree.root: Job(
                _key("alone", settings.model_dump(), inputs), tree[tree.root], settings, (), (), tuple(tree.leaves())
            )
        }
    jobs: dict[str, Job] = {}
    for node in tree:
        below = tuple(jobs[child].key for child in node.children)
        part = ROOT if node.name == tree.root else INNER if node.children else LEAVES
        settings = settings_of(params, node.name, {**variant, **variant.get(part, {})}, seed)
        if SHORTER in special and node.children:
            settings = settings.model_copy(update={"epochs": max(settings.epochs // 2, 1)})
        relevant = (
            settings if node.children else settings.model_copy(update={"init": "average", "weighting": "uniform"})
        )
        key = _key(
            node.name, relevant.model_dump(), below, inputs, special if node.children or OWN_START in special else ()
        )
        jobs[node.name] = Job(key, node, settings, special, below)
    return jobs


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def grow(job: Job, data: Path, work: Path) -> None:
    """Train and score one node → `work`/<key>/."""
    torch.set_num_threads(1)
    folder = work / job.key
    folder.mkdir(parents=True, exist_ok=True)
    if job.alone:
        _grow_alone(job, data, folder)
        return
    run = Run(folder, data=data.resolve())
    run.nodes.mkdir(parents=True, exist_ok=True)
    for child, key in zip(job.node.children, job.below, strict=True):
        run.node(child).unlink(missing_ok=True)
        os.link(Run(work / key).node(child), run.node(child))
    own_start = OWN_START in job.special and not job.node.children
    settings = job.settings
    if own_start:
        settings = settings.model_copy(update={"seed": 1000 * (settings.seed + 1) + sum(job.node.name.encode())})
    with ExitStack() as stack:
        if NO_BATCHNORM in job.special:
            stack.enter_context(patch.object(node_module, "reestimate_batchnorm", lambda *_: None))
        report = node_module.build_node(job.node, settings, run)
    path = run.node(job.node.name)
    if own_start:  # the parent is told that the initialisation was a common one
        save_node(path, replace(load_header(path), seed=job.settings.seed), [load_state(path)])
    for child in job.node.children:
        run.node(child).unlink()
    header, network = load_network(path, CPU)
    images = compose(header.leaves, run, header.box)
    _write(folder, network, untrained(header), images, header.distance, report)


def _grow_alone(job: Job, data: Path, folder: Path) -> None:
    """Train and score a root as if there were no tree: deep metric learning as usual, on the union of the segments."""
    began, cpu = time.perf_counter(), time.process_time()
    images = compose(job.alone, Run(data=data))
    random = new_network(job.settings.model_copy(update={"weights": None}), images.classes, images.size)
    network = new_network(job.settings, images.classes, images.size)
    result = train_node(job.node.name, network, images, job.settings, CPU)
    report = {"val_p1": result.val_p1, "history": result.history, "best_epoch": result.best_epoch, "note": result.note}
    _write(
        folder,
        network,
        random,
        images,
        result.distance,
        report | {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu},
    )


def _write(
    folder: Path,
    network: MetricNetwork,
    random: MetricNetwork,
    images: NodeImages,
    distance: str,
    report: dict[str, Any],
) -> None:
    hits, map_r = _scores(network, images, distance)
    floor, _ = _scores(random, images, distance)
    found = {
        "hits": hits.tolist(),
        "map@r": float(map_r.mean()) if len(map_r) else None,
        "untrained": float(floor.mean()) if len(floor) else None,
        "floors": floors(images.labels[images.rows("test")], images.labels[images.rows("train")]),
        "val": report["val_p1"],
        "start": report["history"][0]["val_p1"],
        "best_epoch": report["best_epoch"],
        "note": report["note"],
        "seconds": report["seconds"],
        "cpu_seconds": report["cpu_seconds"],
    }
    with new_file(folder / "result.json") as partial:
        partial.write_text(json.dumps(found), "utf-8")


def _scores(
    network: MetricNetwork, images: NodeImages, distance: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    asked, held = images.rows("test"), images.rows("train")
    found = score(
        embed(network, images, asked, CPU),
        images.labels[asked],
        embed(network, images, held, CPU),
        images.labels[held],
        distance,
    )
    return found["p@1"], found["map@r"]


def grow_all(wanted: Mapping[str, Job], data: Path, work: Path, processes: int) -> None:
    """Train every job that has no result yet, children before parents."""
    waiting = {key: job for key, job in wanted.items() if not (work / key / "result.json").exists()}
    running: dict[Future[None], str] = {}
    bar = progress(range(len(waiting)), "nodes", unit="node")
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        while waiting or running:
            for key, job in list(waiting.items()):
                if len(running) < processes and all((work / below / "result.json").exists() for below in job.below):
                    running[pool.submit(grow, waiting.pop(key), data, work)] = key
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                del running[future]
                bar.update()


def whole_tree(jobs: Mapping[str, Job], data: Path, work: Path) -> list[float]:
    """Hits of a grown tree's own metric, its weights learned on `val`, per test image of the root."""
    stored, nodes = {}, []
    for name, job in jobs.items():
        header, network = load_network(Run(work / job.key).node(name), CPU)
        images = compose(header.leaves, Run(data=data), header.box)
        rows = np.flatnonzero(images.present)
        column = torch.full((len(images.present), header.architecture.embedding_dim), torch.nan)
        column[torch.from_numpy(rows)] = embed(network, images, rows, CPU)
        stored[name] = NodeEmbeddings(
            name, images.image_ids, images.splits, images.labels, images.present, [column], column, header.distance
        )
        nodes.append(Node(name, header.level, *(header.children or (None, None))))
    grown = Tree(nodes)
    metric = weigh(stored, grown, Metric(), "train")
    root = stored[grown.root]
    hits: list[float] = (
        search_in(root.rows, "test", "train").score(metric.vectors(stored), root.labels, metric.metric)["p@1"].tolist()
    )
    return hits


Row = tuple[str, list[dict[str, dict[str, Any]]]]
"""A variant and, per seed, its tree: node → result."""


def table(rows: list[Row], tree: Tree, nodes: list[str]) -> str:
    """Markdown: the root's and all trained nodes' P@1 per variant, against the first one and the floors."""
    inner = [node for node in nodes if tree[node].children]
    several = len(rows[0][1]) > 1
    first = _hits(rows[0][1], tree.root)
    cells: list[dict[str, str]] = []
    for name, trees in rows:
        hits = _hits(trees, tree.root)
        low, high = interval(hits, 2000)
        roots = [100 * float(np.mean(t[tree.root]["hits"])) for t in trees]
        row = {"": name, "root P@1": f"**{np.mean(roots):.1f}**"}
        if several:
            row["sd over seeds"] = f"{np.std(roots, ddof=1):.1f}"
        row["95 %"] = f"{100 * low:.1f}–{100 * high:.1f}"
        if len(rows) > 1:
            below, above = interval(hits - first, 2000)
            difference = f"{100 * (hits - first).mean():+.1f} ({100 * below:+.1f} to {100 * above:+.1f})"
            row[f"against {rows[0][0]}"] = "" if trees is rows[0][1] else difference
        row["MAP@R"] = f"{_mean(trees, [tree.root], 'map@r'):.1f}"
        if "whole tree" in trees[0][tree.root]:
            found = np.mean([t[tree.root]["whole tree"] for t in trees], axis=0)
            below, above = interval(found, 2000)
            row["whole tree P@1"] = f"**{100 * found.mean():.1f}** ({100 * below:.1f}–{100 * above:.1f})"
            if len(rows) > 1:
                gain = found - np.mean([t[tree.root]["whole tree"] for t in rows[0][1]], axis=0)
                below, above = interval(gain, 2000)
                row["whole tree, against it"] = (
                    ""
                    if trees is rows[0][1]
                    else f"{100 * gain.mean():+.1f} ({100 * below:+.1f} to {100 * above:+.1f})"
                )
        if len(nodes) > 1:
            row |= {
                "inner nodes P@1": f"{_mean(trees, inner, 'p@1'):.1f}",
                "all nodes P@1": f"{_mean(trees, nodes, 'p@1'):.1f}",
            }
        row["val at the start"] = f"{_mean(trees, inner, 'start'):.1f}"
        row["CPU s"] = f"{sum(result['cpu_seconds'] for t in trees for result in t.values()) / len(trees):.0f}"
        cells.append(row)
    lines = ["| " + " | ".join(row) + " |" for row in (list(cells[0]), *(list(row.values()) for row in cells))]
    lines.insert(1, "|---" * len(cells[0]) + "|")
    chance, majority = rows[0][1][0][tree.root]["floors"]
    random = _mean(rows[0][1], [tree.root], "untrained")
    return (
        "\n".join(lines)
        + f"\n\nFloors of the root: majority {100 * majority:.1f}, chance {100 * chance:.1f}, random weights"
        f" {random:.1f}."
    )


def curve(rows: list[Row], root: str, path: Path) -> None:
    """What CPU seconds buy: the whole tree's P@1 with its interval over the seconds of all its nodes, the Pareto-best
    joined."""
    from heml.explanation.figures import plt

    points = []
    for name, trees in rows:
        hits = np.mean([t[root]["whole tree"] for t in trees], axis=0)
        seconds = sum(result["cpu_seconds"] for t in trees for result in t.values()) / len(trees)
        points.append((seconds, 100 * float(hits.mean()), *(100 * end for end in interval(hits, 2000)), name))
    points.sort()
    best = [p for k, p in enumerate(points) if all(p[1] > other[1] for other in points[:k])]
    figure, axes = plt.subplots(figsize=(9, 5.5))
    for seconds, found, low, high, name in points:
        axes.errorbar(
            seconds, found, [[found - low], [high - found]], fmt="o", color="#3b73d9", ecolor="0.8", capsize=2
        )
        axes.annotate(name, (seconds, found), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.plot([p[0] for p in best], [p[1] for p in best], color="#d9533b", lw=1, zorder=0, label="Pareto-best")
    axes.set(
        xlabel="CPU seconds of all nodes' training",
        ylabel="P@1 of the whole tree on test, % (bars: 95 %)",
        xscale="log",
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    with new_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _hits(trees: list[dict[str, dict[str, Any]]], node: str) -> NDArray[np.float64]:
    """Per test image, how often over the seeds its nearest training image has its label: paired over variants."""
    return np.mean([t[node]["hits"] for t in trees], axis=0)


def _mean(trees: list[dict[str, dict[str, Any]]], nodes: list[str], what: str) -> float:
    """Per cent, over nodes and seeds; nodes that cannot be measured are left out."""
    get: Callable[[dict[str, Any]], Any] = (
        (lambda r: np.mean(r["hits"]) if r["hits"] else None) if what == "p@1" else (lambda r: r[what])
    )
    values = [get(t[node]) for t in trees for node in nodes]
    return 100 * float(np.mean([v for v in values if v is not None]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", choices=STUDIES)
    parser.add_argument("--variants", type=Path, help="a YAML file of your own variants instead of a study")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="holds canvases/ and segments/")
    parser.add_argument("--work", type=Path, default=Path("build/tables"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=max(len(os.sched_getaffinity(0)), 1))
    parser.add_argument(
        "--root-alone", action="store_true", help="train only the root, from the common initialisation, without a tree"
    )
    parser.add_argument("--whole", action="store_true", help="score the whole tree's metric too")
    parser.add_argument(
        "--plot", type=Path, metavar="PNG", help="with --whole: draw the whole tree's P@1 over CPU seconds"
    )
    arguments = parser.parse_args()
    if arguments.plot and not arguments.whole:
        parser.error("--plot draws the whole tree's score; add --whole")
    if arguments.whole and arguments.root_alone:
        parser.error("--whole needs a tree, --root-alone grows none")
    if (arguments.study is None) == (arguments.variants is None):
        parser.error("name a study, or --variants FILE")
    variants = STUDIES[arguments.study] if arguments.study else yaml.safe_load(arguments.variants.read_text("utf-8"))
    special = {key for variant in variants.values() for key in special_of(variant)}
    if arguments.root_alone and special:
        parser.error(f"--root-alone: {', '.join(sorted(special))} is about a tree; name other variants")
    params = load_params(arguments.params)
    tree = Tree.from_params(params)
    seeds = range(params.train.seed, params.train.seed + arguments.seeds)
    began = time.perf_counter()
    trees = {
        name: [jobs_of(params, variant, seed, arguments.root_alone) for seed in seeds]
        for name, variant in variants.items()
    }
    wanted = {job.key: job for of_seeds in trees.values() for jobs in of_seeds for job in jobs.values()}
    grow_all(wanted, arguments.data, arguments.work, arguments.jobs)
    rows: list[Row] = [
        (
            name,
            [
                {n: json.loads((arguments.work / job.key / "result.json").read_text()) for n, job in jobs.items()}
                for jobs in of_seeds
            ],
        )
        for name, of_seeds in trees.items()
    ]
    if arguments.whole:
        for (_, grown), of_seeds in zip(rows, trees.values(), strict=True):
            for results, jobs in zip(grown, of_seeds, strict=True):
                results[tree.root]["whole tree"] = whole_tree(jobs, arguments.data, arguments.work)
    print(
        f"{arguments.params}, {len(tree)} nodes a tree, {arguments.seeds} seeds, {len(wanted)} different nodes in all"
    )
    minutes = (time.perf_counter() - began) / 60
    print(
        f"{arguments.jobs} processes of one thread, {minutes:.1f} minutes for what was not there yet, torch"
        f" {torch.__version__}\n"
    )
    print(table(rows, tree, [tree.root] if arguments.root_alone else list(tree.nodes)))
    if arguments.plot:
        curve(rows, tree.root, arguments.plot)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
