"""Is a planted bias found by name, and does deflating it help? Against truth.

    python -m benchmarks.bias found --seeds 10       # avatars: each part in turn is biased, and none; about half an
    hour python -m benchmarks.bias deflated RUNS --set avatars --parts glasses --bias 0.9 --seeds 3      # about five
    minutes a seed python -m benchmarks.bias deflated RUNS --params presets/faces.yaml --set faces --parts l_eye r_eye
    python -m benchmarks.bias deflated RUNS --params presets/faces.yaml --set "faces painted" --parts background
    python -m benchmarks.bias table RUNS             # of all runs in the folder, each set in full
    python -m benchmarks.bias summary RUNS           # all sets side by side: P@1 and worst group, gaps, shares closed

How a bias is planted: `benchmarks/biased.py`. Everything else is as the parameters have it; segments are the exact
masks. A run that lies in the folder RUNS is not run again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.biased import PLANTED, Planted
from benchmarks.debiasing import networks
from heml.atomic import new_file
from heml.bias.attributes import attributes
from heml.bias.balance import balanced
from heml.bias.recomposing import make_recipes
from heml.bias.ties import Labelled, associations
from heml.datasets.avatars import PARTS
from heml.distances import Metric
from heml.evaluation.embeddings import read_all, write_embeddings
from heml.evaluation.retrieval import interval, search_in
from heml.evaluation.weighing import weigh
from heml.images.shards import read_description
from heml.learning.node import build_node
from heml.learning.recipes import write_recipes
from heml.params import Metric as Weighing
from heml.params import Params, Recompose, load_params
from heml.segments.manifest import read_manifest
from heml.tree import Tree

NONE = "none"
UNBIASED = "on unbiased data"


@dataclass(frozen=True)
class Named:
    """What was named in one data set."""

    part: str
    seed: int
    names: list[tuple[str, str]]
    """Part and kind."""


def named(task: tuple[Params, str, float, int]) -> Named:
    """Draw one data set and look for ties."""
    params, part, bias, seed = task
    with tempfile.TemporaryDirectory() as work:
        planted = PLANTED["avatars"](params, [] if part == NONE else [part], bias, seed, Path(work))
        canvases, data = planted.canvases, planted.run
        partitions = {name: read_manifest(data.segments, name) for name in params.segments}
        looked = list(attributes(canvases, partitions, data.images, params.bias))
        images = Labelled(canvases.labels, canvases.splits, read_description(data.images).label_names)
        table = associations(looked, images, params.bias.fdr)
        rows: list[Any] = table[table["suspect"]][["part", "kind"]].to_numpy().tolist()
        return Named(part, seed, [(p, k) for p, k in rows])


def detection(params: Params, bias: float, seeds: int, jobs: int) -> Iterator[str]:
    """A row per biased part: in how many seeds it was named, and what else was."""
    tasks = [(params, part, bias, seed) for part in (*PARTS, NONE) for seed in range(seeds)]
    yield "| biased part | named | false names |"
    yield "|---|---|---|"
    with ProcessPoolExecutor(jobs) as pool:
        runs = list(pool.map(named, tasks))
    for part in (*PARTS, NONE):
        own = [run for run in runs if run.part == part]
        right = sum(any(name == part for name, _ in run.names) for run in own)
        wrong = [f"{kind} of {name} (seed {run.seed})" for run in own for name, kind in run.names if name != part]
        yield (
            f"| {part} | {'–' if part == NONE else f'{right} of {seeds}'} |"
            f" {len(wrong)}{': ' if wrong else ''}{', '.join(wrong)} |"
        )


class Grown:
    """The tree on one biased data set, as it is trained and trained again."""

    def __init__(self, planted: Planted, seed: int) -> None:
        self.planted, self.seed, self.run, self.params = planted, seed, planted.run, planted.params
        self.tree = Tree.from_params(planted.params)
        self.seconds = 0.0
        """Of training, in all."""

    def grow(self, only: Sequence[str]) -> None:
        """Train these nodes, on recomposed images where there are recipes."""
        started = time.process_time()
        for name in only:
            settings = self.params.node(name).model_copy(update={"seed": self.seed})
            build_node(self.tree[name], settings, self.run)
        self.seconds += time.process_time() - started

    def embed(self, hidden: Sequence[str] = ()) -> Tree:
        """Embed all images; returns the tree that does."""
        tree = Tree(list(self.tree), hidden)
        write_embeddings(tree, self.run)
        return tree

    def node(self, name: str) -> tuple[torch.Tensor, Metric]:
        """One node's embeddings of all images."""
        return read_all(self.run.embeddings, self.tree)[name].vectors, "snr"

    def whole(self, tree: Tree, settings: Weighing) -> tuple[torch.Tensor, Metric]:
        """All images as vectors of the tree's metric under a way of weighing its nodes."""
        embeddings = read_all(self.run.embeddings, tree)
        images = balanced(settings.balance, self.params.bias.groups, self.run)
        metric = weigh(embeddings, tree, settings, "train", images)
        return metric.vectors(embeddings), metric.metric


Found = tuple[str, tuple[torch.Tensor, Metric], float, int]
"""A method, its embeddings and their metric, CPU seconds of training, images annotated."""


def trees(planted: Planted, seed: int) -> Iterator[Found]:
    """The tree, plain and deflated; and the node that joins the (first) part with a sibling."""
    grown, parts = Grown(planted, seed), planted.parts
    tree = grown.tree
    joined = next(node.name for node in tree if node.children and parts[0] in node.children)
    while set(tree.leaves(joined)) <= set(parts):
        joined = tree.parent[joined]
    sibling = next(child for child in tree[joined].children if not set(tree.leaves(child)) & set(parts))
    grown.grow([node.name for node in tree])
    plain = grown.seconds
    grown.embed()
    yield "tree", grown.whole(tree, Weighing()), plain, 0
    yield "node above the part", grown.node(joined), plain, 0
    yield "its sibling", grown.node(sibling), plain, 0
    yield "tree, reweighed", grown.whole(tree, Weighing(balance=parts)), plain, 0
    yield "tree, part off", grown.whole(tree, Weighing(off=parts)), plain, 0
    blind = grown.embed(parts)
    yield "tree, part hidden", grown.whole(blind, Weighing()), plain, 0
    yield "tree, part hidden and off", grown.whole(blind, Weighing(off=parts)), plain, 0
    yield "node above the part, hidden", grown.node(joined), plain, 0
    partitions = {name: read_manifest(planted.run.segments, name) for name in planted.params.segments}
    holding = [node.name for node in tree if set(parts) & set(tree.leaves(node.name))]
    for title, settings in (("recomposed", Recompose()), ("same-label donors (control)", Recompose(donors="same"))):
        for part in parts:
            planted.run.recipes.mkdir(exist_ok=True)
            write_recipes(
                planted.run.recipe(part), make_recipes(part, partitions, settings), planted.canvases.image_ids
            )
        before = grown.seconds
        grown.grow(holding)
        again = plain + grown.seconds - before
        grown.embed()
        yield f"tree, {title}", grown.whole(tree, Weighing()), again, 0
        if settings.donors == "any":
            yield "tree, recomposed and reweighed", grown.whole(tree, Weighing(balance=parts)), again, 0
            yield "tree, recomposed and off", grown.whole(tree, Weighing(off=parts)), again, 0
            yield "node above the part, recomposed", grown.node(joined), again, 0
            blind = grown.embed(parts)
            yield "tree, recomposed and hidden", grown.whole(blind, Weighing()), again, 0


def run(
    params: Params, kind: str, parts: Sequence[str], bias: float, seed: int, epochs: int, images: int, path: Path
) -> None:
    """Every method on one data set: per test image whether its neighbour has its label, in `train` and among the other
    test images (a second copy asks in `train` alone)."""
    with tempfile.TemporaryDirectory() as work:
        sized = {"images": images} if kind == "avatars" else {}
        planted = PLANTED[kind](params, parts, bias, seed, Path(work) / "biased", **sized)
        canvases = planted.canvases
        test = canvases.splits == "test"
        kept: dict[str, Any] = {
            "labels": canvases.labels[test],
            "sides": planted.sides[:, test],
            "images": np.cumsum(~planted.twins[test]) - 1,
            "train": np.sum(canvases.splits == "train"),
        }
        kept["seen"] = np.bincount(canvases.labels[test], minlength=2).max() / test.sum()

        def score(found: Found, own: Planted) -> None:
            name, (vectors, metric), seconds, annotated = found
            at, once = own.canvases, ~own.twins
            by_train = search_in(lambda split: np.flatnonzero(at.splits == split), "test", "train").score(
                vectors, at.labels, metric
            )
            among = search_in(lambda split: np.flatnonzero((at.splits == split) & once), "test", "within").score(
                vectors, at.labels, metric
            )
            within = np.full(len(by_train["p@1"]), np.nan)
            within[once[at.splits == "test"]] = among["p@1"]
            kept[f"{name}|hits"] = np.stack([by_train["p@1"], within, by_train["map@r"]])
            kept[f"{name}|cost"] = np.array([seconds, annotated])

        for found in trees(planted, seed):
            score(found, planted)
        for name, vectors, seconds, annotated in networks(planted, seed, epochs):
            score((name, (vectors, "cosine"), seconds, annotated), planted)
        even = PLANTED[kind](params, parts, 0.5, seed, Path(work) / "even", **sized)
        name, *rest = next(trees(even, seed))
        score((f"{name} {UNBIASED}", *rest), even)
        kept["train_even"] = np.sum(even.canvases.splits == "train")
    with new_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **kept)


def table(paths: Sequence[Path]) -> Iterator[str]:
    """A row per method, means over runs of several seeds; intervals are paired over test images, 95 % bootstrap.

    `closed`: of the plain method's gap; `of removable`: of what it has beyond the gap of a tree on unbiased data.
    """
    runs = _read(paths)
    tested, floor = sum(len(r["labels"]) for r in runs), 100 * np.mean([r["seen"] for r in runs])
    trained = " and ".join(str(int(np.mean([r[key] for r in runs]))) for key in ("train", "train_even"))
    yield f"{len(runs)} seeds, {trained} (unbiased) training images, {tested} test images in all; majority {floor:.1f}"
    yield ""
    yield (
        "| method | P@1 | against plain | MAP@R | gap | closed | of removable | worst group | gap among test images | s"
        " | annotated |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    every = _gaps(runs)
    for name, gaps in every.items():
        base = next(kind for kind in ("tree", "network", "node above the part", "its sibling") if name.startswith(kind))
        plain, unbiased = every[base], every[f"tree {UNBIASED}"]
        hits = [r[f"{name}|hits"] for r in runs]
        more = np.concatenate([mine[0] - r[f"{base}|hits"][0] for mine, r in zip(hits, runs, strict=True)])
        low, high = interval(more, 1000)
        inside = 100 * np.mean([_gap(r, mine[1]) for r, mine in zip(runs, hits, strict=True)])
        worst = 100 * np.mean([_worst(r, mine[0]) for r, mine in zip(runs, hits, strict=True)])
        seconds, annotated = np.mean([r[f"{name}|cost"] for r in runs], 0)
        p1, mapr = (100 * np.mean([mine[k].mean() for mine in hits]) for k in (0, 2))
        apart = "" if name == base else f"{100 * more.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        closed = "" if name == base else _share(plain - gaps, plain)
        removable = (
            "" if name in (base, f"tree {UNBIASED}") or base != "tree" else _share(plain - gaps, plain - unbiased)
        )
        numbers = f"{worst:.1f} | {inside:+.1f} | {seconds:.0f} | {annotated:.0f}"
        yield f"| {name} | {p1:.1f} | {apart} | {mapr:.1f} | {_spread(gaps)} | {closed} | {removable} | {numbers} |"


def summary(groups: dict[str, list[Path]]) -> Iterator[str]:
    """Three tables with a column a set: P@1 / P@1 of the worst group, the gap, and the share of the tree's gap that is
    closed; means over seeds, with 95 % intervals."""
    sets = {f"{name} ({len(paths)})": _read(paths) for name, paths in groups.items()}
    gaps = {name: _gaps(runs) for name, runs in sets.items()}
    methods = list(dict.fromkeys(method for of_set in gaps.values() for method in of_set))

    def scores(name: str, method: str) -> str:
        hits = [r[f"{method}|hits"][0] for r in sets[name]]
        worst = np.mean([_worst(r, h) for r, h in zip(sets[name], hits, strict=True)])
        return f"{100 * np.mean([h.mean() for h in hits]):.1f} / {100 * worst:.1f}"

    def gap(name: str, method: str) -> str:
        return _spread(gaps[name][method])

    def closed(name: str, method: str) -> str:
        plain = gaps[name]["tree"]
        return _share(plain - gaps[name][method], plain)

    for cell in (scores, gap, closed):
        yield f"| | {' | '.join(sets)} |"
        yield f"|---|{'---|' * len(sets)}"
        for method in methods:
            if cell is not closed or method.startswith("tree,"):
                cells = (cell(name, method) if method in gaps[name] else "" for name in sets)
                yield f"| {method} | {' | '.join(cells)} |"
        yield ""
    floors = (f"{name} {100 * np.mean([r['seen'] for r in runs]):.1f}" for name, runs in sets.items())
    yield f"majority: {', '.join(floors)}"


def _read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [dict(np.load(path)) for path in paths]


def _methods(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Those that every run has."""
    return [key.removesuffix("|hits") for key in runs[0] if key.endswith("|hits") and all(key in run for run in runs)]


def _ties(run: dict[str, Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Test images in which every tie tells their own label, and in which every tie tells another."""
    known = (run["sides"] >= 0).all(0)
    holds = run["sides"] == run["labels"]
    return known & holds.all(0), known & ~holds.any(0)


def _gap(run: dict[str, Any], hits: NDArray[np.float64]) -> float:
    holds, broken = _ties(run)
    return float(np.nanmean(hits[holds]) - np.nanmean(hits[broken]))


def _gaps(runs: Sequence[dict[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """(1001,) of every method: its mean gap, and after it a thousand bootstrap draws of every run's test images, the
    same for every method; an image that is there in both looks is drawn with both."""
    rng = np.random.default_rng(0)
    found = {name: np.zeros(1001) for name in _methods(runs)}
    for run in runs:
        images = run.get("images", np.arange(len(run["labels"])))
        many = int(images.max()) + 1
        counts = np.vstack([np.ones(many), rng.multinomial(many, np.full(many, 1 / many), 1000)])[:, images]
        for name, gap in found.items():
            hits = run[f"{name}|hits"][0]
            holds, broken = ((counts[:, side] @ hits[side]) / counts[:, side].sum(1) for side in _ties(run))
            gap += holds - broken
    return {name: gap / len(runs) for name, gap in found.items()}


def _spread(draws: NDArray[np.float64]) -> str:
    """Points, with their interval."""
    low, high = np.quantile(draws[1:], (0.025, 0.975))
    return f"{100 * draws[0]:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})".replace("-", "−")


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> str:
    """Percent, with its interval; nothing where the whole can't be told from nothing."""
    if np.quantile(whole[1:], 0.025) <= 0:
        return "–"
    low, high = np.quantile(part[1:] / whole[1:], (0.025, 0.975))
    return f"{100 * part[0] / whole[0]:.0f} % ({100 * low:.0f} to {100 * high:.0f})".replace("-", "−")


def _worst(run: dict[str, Any], hits: NDArray[np.float64]) -> float:
    """P@1 of the worst group of label and sides."""
    known = (run["sides"] >= 0).all(0)
    cells = run["labels"] * 2 ** len(run["sides"]) + sum(side * 2**k for k, side in enumerate(run["sides"]))
    return min(float(hits[known & (cells == cell)].mean()) for cell in np.unique(cells[known]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["found", "deflated", "table", "summary"])
    parser.add_argument("runs", nargs="?", type=Path, help="a folder of finished runs")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--set", choices=list(PLANTED), default="avatars")
    parser.add_argument("--parts", nargs="+", default=["glasses"])
    parser.add_argument("--bias", type=float, default=0.9)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--images", type=int, default=2000, help="avatars, of which 600 are for training and 150 for validation"
    )
    parser.add_argument("--epochs", type=int, default=15, help="of the networks on the whole image")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "found":
        for line in detection(load_params(args.params), args.bias, args.seeds, args.jobs):
            print(line, flush=True)
        return
    if args.runs is None:
        parser.error("name a folder of runs")
    if args.what == "deflated":
        params, name = load_params(args.params), f"{args.set}, {' and '.join(args.parts)}, bias {args.bias:g}"
        paths = [args.runs / f"{name}, seed {seed}.npz" for seed in range(args.seeds)]
        for seed, path in enumerate(paths):
            if not path.is_file():
                run(params, args.set, args.parts, args.bias, seed, args.epochs, args.images, path)
        groups = {name: paths}
    else:
        groups = {}
        for path in sorted(args.runs.glob("*.npz")):
            groups.setdefault(path.stem.rpartition(", seed")[0], []).append(path)
    if args.what == "summary":
        for line in summary(groups):
            print(line)
        return
    for name, paths in groups.items():
        print(f"\n**{name}**: ", end="")
        for line in table(paths):
            print(line, flush=True)


if __name__ == "__main__":
    main()
