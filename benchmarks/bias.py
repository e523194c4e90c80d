"""Is a planted bias found by name, and does deflating it help? Against truth, on the embedded avatars.

    python -m benchmarks.bias found --seeds 10                   # each part in turn is biased, and none; about half an hour
    python -m benchmarks.bias deflated --part glasses --bias 0.9 --seeds 3 --images 2000    # about six minutes a seed

A bias is planted in a part by tying its colours to the label in `train` alone; in held-out images they tell nothing, as those of the
glasses in `data/avatars.yaml`. Everything else is as `params.yaml` has it; segments are the exact masks.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from heml.bias.attributes import attributes, part_attributes
from heml.bias.balance import balanced
from heml.bias.recomposing import make_recipes
from heml.bias.ties import FEW, Labelled, agrees, associations
from heml.datasets.avatars import PARTS, avatars
from heml.datasets.canvas import load_canvases, write_canvases
from heml.datasets.store import read_description, write_images
from heml.distances import Metric
from heml.evaluation.embeddings import read_all, write_embeddings
from heml.evaluation.retrieval import interval, search_in
from heml.evaluation.weighing import weigh
from heml.learning.augment import augment, may_flip
from heml.learning.embedding import embed
from heml.learning.inputs import NodeImages, compose, prepare
from heml.learning.networks import new_network
from heml.learning.node import build_node
from heml.learning.optimisation import new_optimizer, new_schedule
from heml.learning.recipes import write_recipes
from heml.params import Metric as Weighing
from heml.params import Params, Recompose, Split, Train, load_params
from heml.segmentation.manifest import read_manifest, write_manifest
from heml.segmentation.segment import segment_images, write_mask_segmenter
from heml.tree import Tree

NONE = "none"


def planted(params: Params, part: str, bias: float, seed: int, folder: Path, images: int | None = None) -> Params:
    """Draw a data set with one biased part, and cut its segments: `data/images`, `data/canvases` and `data/segments` in a folder.

    Args:
        part: whose colours are tied to the label in `train`; `none`: the glasses' tell nothing anywhere.
    """
    tables = yaml.safe_load(Path(params.dataset.path).read_text("utf-8"))
    tables["biased"] = "glasses" if part == NONE else part
    own = tables["parts"][tables["biased"]]["colours"]
    for colour in own:
        own[colour] = [1 / len(own)] * 2
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.yaml").write_text(yaml.safe_dump(tables, sort_keys=False), "utf-8")
    changed = {"path": str(folder / "tables.yaml"), "bias": 0.5 if part == NONE else bias, "seed": seed}
    changed |= {"images": images} if images else {}
    found = params.model_copy(update={"dataset": params.dataset.model_copy(update=changed)})
    records, description = avatars(found.dataset, 1)
    write_images(folder / "data/images", records, description)
    write_canvases(folder / "data/images", folder / "data/canvases", params.canvas)
    write_mask_segmenter(folder / "models/segmenter", description.classes)
    segment_images(folder / "data/images", folder / "models/segmenter", folder / "data/labelmaps", params.segmenter.size, 8)
    for name, segment in params.segments.items():
        target = folder / f"data/segments/segment={name}"
        write_manifest(folder / "data/images", folder / "data/labelmaps", target, name, segment, params.canvas)
    return found


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
        folder = Path(work)
        planted(params, part, bias, seed, folder)
        canvases = load_canvases(folder / "data/canvases")
        partitions = {name: read_manifest(folder / "data/segments", name) for name in params.segments}
        looked = list(attributes(canvases, partitions, folder / "data/images", params.bias))
        images = Labelled(canvases.labels, canvases.splits, read_description(folder / "data/images").label_names)
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
        yield f"| {part} | {'–' if part == NONE else f'{right} of {seeds}'} | {len(wrong)}{': ' if wrong else ''}{', '.join(wrong)} |"


@dataclass(frozen=True)
class Hits:
    """Of one method and seed, per test image whether its neighbour has its label: found in `train`, and among the other test images."""

    train: NDArray[np.float64]
    within: NDArray[np.float64]


class Case:
    """One biased data set in a folder, its groups, and what a method finds in it."""

    def __init__(self, params: Params, part: str, bias: float, seed: int, images: int, folder: Path) -> None:
        split = Split(train=600 / images, val=150 / images, test=1 - 750 / images)
        sized = params.model_copy(update={"dataset": params.dataset.model_copy(update={"split": split})})
        self.params = planted(sized, part, bias, seed, folder, images)
        self.part, self.seed, self.folder = part, seed, folder
        self.tree = Tree.from_params(params)
        self.canvases = load_canvases(folder / "data/canvases")
        self.partitions = {name: read_manifest(folder / "data/segments", name) for name in params.segments}
        colours = (a for a in part_attributes(part, self.partitions[part], self.canvases, params.bias.groups) if a.kind == "colour")
        self.attribute = next(colours)
        self.labelled = Labelled(self.canvases.labels, self.canvases.splits, ["0", "1"])
        self.cells = np.where(self.attribute.values < 0, -1, self.attribute.values * 2 + self.canvases.labels)
        """(N,): group and label; −1 where the image does not show the part."""

    def hits(self, vectors: torch.Tensor, metric: Metric) -> Hits:
        """Of embeddings (N, D), NaN where there is none."""
        found = []
        for search in ("train", "within"):
            asked = search_in(lambda split: np.flatnonzero(self.canvases.splits == split), "test", search)
            found.append(asked.score(vectors, self.canvases.labels, metric).p_at_1)
        return Hits(*found)

    def grow(self, recipes: Path | None, only: Sequence[str]) -> None:
        """Train these nodes of the tree, on recomposed images where there are recipes."""
        for name in only:
            settings = self.params.node(name).model_copy(update={"seed": self.seed})
            where = [self.folder / place for place in ("data/canvases", "data/segments", "models/nodes", "reports.json")]
            build_node(self.tree[name], settings, *where, recipes)

    def node_hits(self, name: str) -> Hits:
        """Of one node, as it is."""
        return self.hits(read_all(self.folder / "data/embeddings", self.tree)[name].vectors, "snr")

    @property
    def joined(self) -> str:
        """The node that joins the part with its sibling."""
        return next(node.name for node in self.tree if self.part in node.children)

    def tree_hits(self, settings: Weighing) -> Hits:
        """Of the tree as it is, under a way of weighing its nodes."""
        write_embeddings(self.tree, *(self.folder / p for p in ("data/canvases", "data/segments", "models/nodes", "data/embeddings")))
        embeddings = read_all(self.folder / "data/embeddings", self.tree)
        images = balanced(settings.balance, self.folder / "data", self.params.bias.groups)
        metric = weigh(embeddings, self.tree, settings, "train", images)
        return self.hits(metric.vectors(embeddings), metric.metric)


def trees(case: Case) -> Iterator[tuple[str, Hits]]:
    """The tree, plain and deflated."""
    nodes = [node.name for node in case.tree]
    case.grow(None, nodes)
    yield "tree", case.tree_hits(Weighing())
    yield "node above the part", case.node_hits(case.joined)
    yield "its sibling, which does not see it", case.node_hits(next(c for c in case.tree[case.joined].children if c != case.part))
    yield "tree, reweighed", case.tree_hits(Weighing(balance=[case.part]))
    yield "tree, part off", case.tree_hits(Weighing(off=[case.part]))
    recipes = case.folder / "data/recipes"
    recipes.mkdir()
    holding = [name for name in nodes if case.part in case.tree.leaves(name)]
    for title, settings in (("recomposed", Recompose()), ("same-label donors (control)", Recompose(donors="same"))):
        made = make_recipes(case.part, case.partitions, settings)
        write_recipes(recipes / f"{case.part}.parquet", made, case.canvases.image_ids)
        case.grow(recipes, holding)
        yield f"tree, {title}", case.tree_hits(Weighing())
        yield f"node above the part, {title}", case.node_hits(case.joined)
        if settings.donors == "any":
            yield "tree, recomposed and reweighed", case.tree_hits(Weighing(balance=[case.part]))


@dataclass(frozen=True)
class Recipe:
    """How one network on the whole image is trained: with cross-entropy, as these methods are defined."""

    balanced: bool = False
    """Batches hold every group and label as often (given groups)."""
    dro: float = 0.0
    """Step of the groups' weights (Group DRO; Sagawa et al., ICLR 2020)."""
    upweight: float = 0.0
    """Times that images count which a first network of a fifth of the epochs got wrong (JTT; Liu et al., ICML 2021)."""
    last: bool = False
    """The last layers fitted again on balanced val (DFR; Kirichenko et al., ICLR 2023)."""
    cutout: bool = False
    """The part masked out, in training and after."""
    cutmix: bool = False
    """Rectangles of other images, labels mixed (Yun et al., ICCV 2019)."""


NETWORKS = {
    "network": Recipe(),
    "network, group-balanced": Recipe(balanced=True),
    "network, Group DRO": Recipe(dro=0.01),
    "network, DFR": Recipe(last=True),
    "network, JTT": Recipe(upweight=5.0),
    "network, part cut out": Recipe(cutout=True),
    "network, CutMix": Recipe(cutmix=True),
}


def networks(case: Case, epochs: int) -> Iterator[tuple[str, Hits]]:
    """One network under every recipe."""
    leaves = case.tree.leaves()
    for name, recipe in NETWORKS.items():
        kept = [leaf for leaf in leaves if not (recipe.cutout and leaf == case.part)]
        images = compose(case.folder / "data/canvases", case.folder / "data/segments", kept)
        network = Classifier(case.params.train, images, case.seed)
        network.fit(images, case.cells, recipe, epochs)
        rows = np.flatnonzero(images.present)
        vectors = torch.full((len(images.present), case.params.train.embedding_dim), torch.nan)
        vectors[torch.from_numpy(rows)] = embed(network.network, images, rows, torch.device("cpu"))
        yield name, case.hits(vectors, "cosine")


class Classifier:
    """A metric network with a linear layer on its embedding."""

    def __init__(self, settings: Train, images: NodeImages, seed: int) -> None:
        self.settings = settings.model_copy(update={"seed": seed})
        self.network = new_network(self.settings, images.classes, images.size)
        self.head = nn.Linear(settings.embedding_dim, images.classes)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) → (B, C); embeddings have length 1, so they are scaled."""
        scores: torch.Tensor = self.head(16 * self.network(x))
        return scores

    def fit(self, images: NodeImages, cells: NDArray[np.int64], recipe: Recipe, epochs: int) -> None:
        """Train on `train`, then, for DFR, the last layers on `val`."""
        rows, counts = images.rows("train"), np.ones(len(images.present))
        if recipe.upweight:
            self.epochs(images, rows, counts, cells, Recipe(), max(epochs // 5, 1))
            counts[rows[self.predict(images, rows) != images.labels[rows]]] = recipe.upweight
            self.__init__(self.settings, images, self.settings.seed)  # type: ignore[misc]
        if recipe.balanced:
            counts = self.even(rows, cells)
        self.epochs(images, rows, counts, cells, recipe, epochs)
        if recipe.last:
            held = images.rows("val")
            self.network.trunk.requires_grad_(False)
            self.epochs(images, held, self.even(held, cells), cells, recipe, epochs, still=True)

    @staticmethod
    def even(rows: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """How often each image is drawn, so that every cell is as often as another."""
        found = np.zeros(len(cells))
        values, place, number = np.unique(cells[rows], return_inverse=True, return_counts=True)
        found[rows] = len(rows) / (len(values) * number[place])
        return found

    @torch.inference_mode()
    def predict(self, images: NodeImages, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Labels of some rows."""
        self.network.eval()
        parts = [self.logits(prepare(*images.batch(rows[i : i + 128]))).argmax(1) for i in range(0, len(rows), 128)]
        return torch.cat(parts).numpy()

    def epochs(self, images: NodeImages, rows: NDArray[np.int64], counts: NDArray[np.float64], cells: NDArray[np.int64], recipe: Recipe,
               epochs: int, still: bool = False) -> None:  # fmt: skip
        """Epochs of batches drawn by `counts`; `still`: the trunk and its statistics stay as they are."""
        s = self.settings
        steps = max(len(rows) // s.batch_size, 1)
        optimizer = new_optimizer(self.network, [(list(self.head.parameters()), s.lr)], s)
        schedule = new_schedule(optimizer, s, steps, epochs)
        rng, generator = np.random.default_rng(s.seed), torch.Generator().manual_seed(s.seed)
        weight = torch.ones(int(cells.max()) + 2)  # the last: images that do not show the part
        chance = counts[rows] / counts[rows].sum()
        self.network.train(not still)
        for _ in range(epochs * steps):
            chosen = rng.choice(rows, s.batch_size, p=chance) if (counts[rows] != 1).any() else rng.choice(rows, s.batch_size, False)
            x = augment(*images.batch(chosen), s, s.flip and may_flip(images.segments), generator)
            y = torch.from_numpy(images.labels[chosen])
            share, other = 1.0, torch.arange(len(y))
            if recipe.cutmix and rng.random() < 0.5:
                x, share, other = cutmix(x, rng)
            logits = self.logits(x)
            mixed = [functional.cross_entropy(logits, target, reduction="none") for target in (y, y[other])]
            loss = share * mixed[0] + (1 - share) * mixed[1]
            if recipe.dro:
                group = torch.from_numpy(cells[chosen])
                means = torch.zeros(len(weight))
                for g in group.unique().tolist():
                    means[g] = loss[group == g].mean()
                    weight[g] *= float((recipe.dro * means[g].detach()).exp())
                weight /= weight.sum()
                total = weight @ means
            else:
                total = loss.mean()
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            optimizer.step()
            schedule.step()
        self.network.eval()


def cutmix(x: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, float, torch.Tensor]:
    """A batch with a rectangle of another order of it: images, the share of their own that is left, the order."""
    order = torch.from_numpy(rng.permutation(len(x)))
    h, w = x.shape[2:]
    side = np.sqrt(1 - rng.random())
    top, left = (int(rng.integers(0, max(int(n * (1 - side)), 1))) for n in (h, w))
    high, wide = max(int(h * side), 1), max(int(w * side), 1)
    mixed = x.clone()
    mixed[:, :, top : top + high, left : left + wide] = x[order, :, top : top + high, left : left + wide]
    return mixed, 1 - high * wide / (h * w), order


def deflated(params: Params, part: str, bias: float, seeds: int, images: int, epochs: int) -> Iterator[str]:
    """A row per method, means over seeds; the interval is of the difference to the plain tree or network, paired over test images."""
    found: dict[str, list[tuple[Hits, NDArray[np.int64], NDArray[np.float64]]]] = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as work:
            case = Case(params, part, bias, seed, images, Path(work))
            test = case.canvases.splits == "test"
            told = agrees(case.attribute, case.labelled)[test]
            for name, hits in (*trees(case), *networks(case, epochs)):
                found.setdefault(name, []).append((hits, case.cells[test], told))
    yield f"{part}, bias {bias:g}, {seeds} seeds, {images - 750} test images each"
    yield ""
    yield "| method | P@1 | against plain | tie holds | tie broken | gap | worst group | gap among test images |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, runs in found.items():
        plain = found[next((kind for kind in ("tree", "network", "node above the part") if name.startswith(kind)), name)]
        more = np.concatenate([mine.train - theirs.train for (mine, _, _), (theirs, _, _) in zip(runs, plain, strict=True)])
        low, high = interval(more, 1000)
        mean, holds, broken, worst, inside = (100 * np.mean(column) for column in zip(*(_scores(*run) for run in runs), strict=True))
        apart = f"{100 * more.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        yield f"| {name} | {mean:.1f} | {apart} | {holds:.1f} | {broken:.1f} | {holds - broken:+.1f} | {worst:.1f} | {inside:+.1f} |"


def _scores(hits: Hits, cells: NDArray[np.int64], told: NDArray[np.float64]) -> tuple[float, float, float, float, float]:
    """P@1 of all, of those whose label the tie tells and of the others, of the worst group; the gap among test images."""
    worst = min(float(hits.train[cells == cell].mean()) for cell in np.unique(cells[cells >= 0]) if (cells == cell).sum() >= FEW)
    holds, broken = (float(hits.train[told == side].mean()) for side in (1, 0))
    return float(hits.train.mean()), holds, broken, worst, float(hits.within[told == 1].mean() - hits.within[told == 0].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["found", "deflated"])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--bias", type=float, default=0.9)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--part", choices=list(PARTS), default="glasses")
    parser.add_argument("--images", type=int, default=2000, help="of which 600 are for training and 150 for validation")
    parser.add_argument("--epochs", type=int, default=25, help="of the networks on the whole image")
    args = parser.parse_args()
    torch.set_num_threads(1)
    params = load_params(args.params)
    if args.what == "deflated":
        for line in deflated(params, args.part, args.bias, args.seeds, args.images, args.epochs):
            print(line, flush=True)
        return
    for line in detection(params, args.bias, args.seeds, args.jobs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
