"""What the tree's weights are worth, and how stable they are: learned against uniform, and three ways to treat a part
that is missing.

    python -m benchmarks.weights RUN [RUN …]        # finished runs, best with train.seeds: 3; about half a minute each

Per run, over its seeds: P@1 and MAP@R of the whole tree on test (95 %: paired bootstrap over test images of the
difference to the first row), its expected calibration error, and the weights of every seed side by side. A node that
one of the two images lacks is neutral (no
evidence: its distance is its threshold), unrelated (its distance is ½), or left out, the others' weights renormalised.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from heml.distances import Metric as Distance
from heml.distances import standardise
from heml.evaluation.embeddings import NodeEmbeddings, read_all
from heml.evaluation.retrieval import interval, search_in
from heml.evaluation.tree_metric import TreeMetric
from heml.evaluation.verification import calibration_error, reliability
from heml.evaluation.weighing import held_out, weigh
from heml.params import Metric, load_params
from heml.run import Run
from heml.tree import Tree

ABSENT = ("neutral", "unrelated", "renormalised")


def by_hand(metric: TreeMetric, dims: list[int], absent: str) -> Distance:
    """The tree's distance between embeddings of all nodes in a row, node by node, so that a missing one can be treated
    in any way."""

    def distances(queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        total, mass = torch.zeros(len(queries), len(references)), torch.zeros(len(queries), len(references))
        for term, a, b in zip(metric.terms.values(), queries.split(dims, 1), references.split(dims, 1), strict=True):
            d = ((1 - standardise(a) @ standardise(b).T) / 2).clamp(0, 1)
            there = d.isfinite()
            missing = {"neutral": term.threshold, "unrelated": 0.5, "renormalised": 0.0}[absent]
            total += term.weight * torch.where(there, d, missing)
            mass += term.weight * (there if absent == "renormalised" else 1.0)
        return torch.where(mass > 0, total / mass.clamp_min(1e-12), torch.inf)

    return distances


def scores(
    embeddings: Mapping[str, NodeEmbeddings], tree: Tree, metric: TreeMetric, absent: str, search: str
) -> NDArray[np.float64]:
    """Hits and average precision at R of every test image, (2, Q)."""
    vectors = [stored.vectors for stored in embeddings.values()]
    root = embeddings[tree.root]
    distance = by_hand(metric, [v.shape[1] for v in vectors], absent)
    found = search_in(root.rows, "test", search).score(torch.cat(vectors, 1), root.labels, distance)
    return np.stack([found["p@1"], found["map@r"]])


def measure(root: Path) -> str:
    """The tables of one run."""
    params = load_params(root / "params.yaml")
    tree, search = Tree.from_params(params), params.evaluate.search
    stored = read_all(Run(root).embeddings, tree)
    seeds = range(len(stored[tree.root].repeats))
    found: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    errors: dict[str, list[float]] = {"learned": [], "uniform": []}
    weights = pd.DataFrame(index=list(stored))
    for seed in seeds:
        embeddings = {name: replace(node, repeats=[node.repeats[seed]]) for name, node in stored.items()}
        test = held_out(embeddings, tree, "test", search)
        for kind in errors:
            metric = weigh(embeddings, tree, Metric(weights=kind), search)
            errors[kind].append(calibration_error(reliability(test, metric.log_odds(test.distances))))
            for absent in ABSENT:
                found.setdefault((kind, absent), []).append(scores(embeddings, tree, metric, absent, search))
            if kind == "learned":
                told = [f"{100 * t.weight:.1f} ({100 * t.low:.1f}–{100 * t.high:.1f})" for t in metric.terms.values()]
                weights[f"seed {seed} (λ {metric.penalty or '∞'})"] = told
                weights[seed] = [t.weight for t in metric.terms.values()]
    lines = [f"{root.name}: {len(seeds)} seeds, {found['learned', 'neutral'][0].shape[1]} test images", ""]
    lines += [
        "| weights | a missing part | P@1 | by seed | against the first | MAP@R | calibration error |",
        "|---|---|---|---|---|---|---|",
    ]
    first = np.mean(found["learned", "neutral"], axis=0)
    for (kind, absent), rows in found.items():
        mean = np.mean(rows, axis=0)
        low, high = interval(mean[0] - first[0], 1000)
        apart = (
            f"{100 * (mean[0] - first[0]).mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
            if (kind, absent) != ("learned", "neutral")
            else ""
        )
        each = ", ".join(f"{100 * row[0].mean():.1f}" for row in rows)
        error = f"{100 * np.mean(errors[kind]):.1f}" if absent == "neutral" else ""
        lines.append(
            f"| {kind} | {absent} | {100 * mean[0].mean():.1f} | {each} | {apart} | {100 * mean[1].mean():.1f} |"
            f" {error} |"
        )
    columns = [c for c in weights if isinstance(c, str)]
    lines += ["", "| node | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(row) + " |"
        for name, row in zip(weights.index, weights[columns].to_numpy().tolist(), strict=True)
    ]
    between = weights[list(seeds)].corr(method="spearman").to_numpy()[np.triu_indices(len(seeds), 1)]
    if len(between):
        lines += ["", f"Spearman's correlation of the weights of two seeds: {', '.join(f'{r:.2f}' for r in between)}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    for root in parser.parse_args().runs:
        print(measure(root) + "\n")


if __name__ == "__main__":
    main()
