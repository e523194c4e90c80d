"""The report's comparison with other methods as Markdown: what each reaches, and what it costs.

dvc repro                                # with `baselines` named in params.yaml (docs/baselines.md)
python -m benchmarks.baselines [reports/plots/comparison.csv]
python -m benchmarks.baselines --paired RUN [RUN …]     # finished runs whose baselines are named method0, method1 … by
seed, train.seeds: 3

With `--paired`, per run: P@1 and MAP@R of the tree, of its root and of every method, means over seeds, and the
difference of the tree's P@1 to each, paired over test images (95 % bootstrap).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from heml.baselines.build import baseline_images, load_baseline
from heml.evaluation.embeddings import read_all
from heml.evaluation.retrieval import Scores, floors, interval, search_in
from heml.evaluation.weighing import weigh
from heml.learning.inference import embed
from heml.params import load_params
from heml.run import Run
from heml.tree import Tree


def tables(rows: pd.DataFrame) -> str:
    """Two tables, a row per method: scores with the 95 % interval of P@1, then costs."""
    scores, costs = [], []
    for row in rows.to_dict("records"):
        shown = ("p@1", "p@1_low", "p@1_high", "p@2", "p@8", "r_precision", "map@r")
        percent = {key: "–" if pd.isna(row[key]) else f"{100 * row[key]:.1f}" for key in shown}
        scores.append(
            {
                "": row["name"],
                "P@1": f"**{percent['p@1']}**",
                "95 %": f"{percent['p@1_low']}–{percent['p@1_high']}",
                "P@2": percent["p@2"],
                "P@8": percent["p@8"],
                "R-precision": percent["r_precision"],
                "MAP@R": percent["map@r"],
            }
        )
        costs.append(
            {
                "": row["name"],
                "training, s": f"{row['train_seconds']:.0f}",
                "to the best epoch, s": f"{row['best_seconds']:.0f}",
                "trains, images/s": f"{row['train_images_per_second']:.0f}",
                "embeds, images/s": f"{row['images_per_second']:.0f}",
                "peak memory, MB": f"{row['peak_bytes'] / 1e6:,.0f}",
                "weights, MB": f"{row['bytes'] / 1e6:.0f}",
                "explanation, ms": f"{1000 * row['explanation_seconds']:.0f}",
            }
        )
    first = rows.iloc[0]
    floor = (
        f"Floors: majority {100 * first['majority']:.1f}, chance {100 * first['chance']:.1f}; {first['queries']:.0f}"
        " test images."
    )
    return f"{_markdown(scores)}\n\n{floor}\n\n{_markdown(costs)}"


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def paired(root: Path) -> str:
    """One run's table, a row per method."""
    params, run = load_params(root / "params.yaml"), Run(root)
    tree, search = Tree.from_params(params), params.evaluate.search
    stored = read_all(run.embeddings, tree)
    top = stored[tree.root]
    who = search_in(top.rows, "test", search)
    found: dict[str, list[Scores]] = {"tree": [], "root alone": []}
    for seed in range(len(top.repeats)):
        own = {name: replace(node, repeats=[node.repeats[seed]]) for name, node in stored.items()}
        metric = weigh(own, tree, params.metric, search)
        found["tree"].append(who.score(metric.vectors(own), top.labels, metric.metric))
        found["root alone"].append(who.score(top.repeats[seed], top.labels, "snr"))
    for name, settings in params.baselines.items():
        header, network = load_baseline(settings, run.baseline(name), torch.device("cpu"))
        images = baseline_images(settings, header.leaves, run)
        rows = np.union1d(who.asked, who.held)
        embedded = embed(network, images, rows, torch.device("cpu"))
        vectors = torch.full((len(images.image_ids), embedded.shape[1]), torch.nan)
        vectors[torch.from_numpy(rows)] = embedded
        scores = who.score(vectors, images.labels, getattr(network, "metric", "snr"))
        found.setdefault(name.rstrip("0123456789"), []).append(scores)
    first = np.mean([scores["p@1"] for scores in found["tree"]], axis=0)
    lines = ["| | P@1 by seed | mean | MAP@R | the tree's P@1 less its |", "|---|---|---|---|---|"]
    for name, runs in found.items():
        mean = np.mean([scores["p@1"] for scores in runs], axis=0)
        low, high = interval(first - mean, 1000)
        apart = f"{100 * (first - mean).mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})" if name != "tree" else ""
        each = ", ".join(f"{100 * scores['p@1'].mean():.1f}" for scores in runs)
        deep = 100 * np.mean([scores["map@r"].mean() for scores in runs])
        lines.append(f"| {name} | {each} | {100 * mean.mean():.1f} | {deep:.1f} | {apart} |")
    chance, majority = floors(top.labels[who.asked], top.labels[who.held])
    return (
        f"{root.name}: {len(who.asked)} test images; chance {100 * chance:.1f}, majority {100 * majority:.1f}\n\n"
        + "\n".join(lines)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path, default=Path("reports/plots/comparison.csv"))
    parser.add_argument("--paired", nargs="+", type=Path, metavar="RUN", help="folders of finished runs")
    args = parser.parse_args()
    print("\n\n".join(map(paired, args.paired)) if args.paired else tables(pd.read_csv(args.table)))


if __name__ == "__main__":
    main()
