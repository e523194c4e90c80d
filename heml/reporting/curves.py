"""Loss and P@1 of every node over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from heml.explanation.pictures import palette


def curve_table(reports: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row per node and epoch: node, level, epoch, loss, val_p1, triplets, seconds."""
    rows = [{"node": r["node"], "level": r["level"]} | epoch for r in reports for epoch in r["history"]]
    return pd.DataFrame(rows, columns=["node", "level", "epoch", "loss", "val_p1", "triplets", "seconds"])


def curve_figure(table: pd.DataFrame) -> Figure:
    """Small multiples by level: the loss above, P@1 on `val` below, a line per node."""
    levels = sorted(table["level"].unique())
    figure, axes = plt.subplots(
        2, len(levels), figsize=(max(3.1 * len(levels), 7), 5), sharey="row", sharex=True, squeeze=False
    )
    for column, level in enumerate(levels):
        nodes = table[table["level"] == level]
        names = list(nodes["node"].unique())
        for name, colour in zip(names, palette(len(names)) / 255, strict=True):
            one = nodes[nodes["node"] == name]
            axes[0, column].plot(one["epoch"], one["loss"], marker=".", color=colour, label=name)
            measured = one.dropna(subset="val_p1")
            axes[1, column].plot(measured["epoch"], measured["val_p1"], marker=".", color=colour, label=name)
        axes[0, column].set_title(f"level {level}", fontsize=10)
        axes[1, column].set_xlabel("epoch (0: start)")
        axes[1, column].legend(fontsize=6, frameon=False, loc="lower right", ncols=2 if len(names) > 6 else 1)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("P@1 on val")
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def reliability_figure(table: pd.DataFrame) -> Figure:
    """Said and found probabilities, a dot per tenth, beside the diagonal on which they agree.

    Args:
        table: of `heml.evaluation.verification.reliability`.
    """
    figure, axis = plt.subplots(figsize=(4.2, 4.2))
    axis.plot([0, 1], [0, 1], color="#9aa3b2", lw=1)
    axis.plot(table["said"], table["found"], color="#2166ac", lw=1.2)
    axis.scatter(table["said"], table["found"], s=20 + 900 * table["share"], color="#2166ac", alpha=0.7)
    axis.set(
        xlabel="said: probability of one label",
        ylabel="found: share of one label",
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.03),
        aspect="equal",
    )
    figure.tight_layout()
    return figure
