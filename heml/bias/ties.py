"""Which attributes are tied to the label in `train`, which of those ties do not hold elsewhere, and who follows
whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

from heml.bias.association import (
    contingency,
    cramers_v,
    drawn_again,
    false_discovery,
    independence,
    interval,
    mutual_information,
    shift,
    shift_within,
)
from heml.bias.attributes import Attribute

LEAST = 0.1
"""Cramér's V in `train` below which a tie is too weak to be named."""
FEW = 10
"""Images of a group below which it is said that they are few."""

ASSOCIATIONS = """
    part kind groups images v_train v_train_low v_train_high information q_train v_val v_val_low v_val_high v_test
    v_test_low v_test_high shift shift_low shift_high q_shift suspect follows
""".split()


@dataclass(frozen=True)
class Labelled:
    """The images' labels and splits, N in stored order."""

    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    names: list[str]
    """Of the labels."""

    def table(self, attribute: Attribute, *splits: str) -> NDArray[np.int64]:
        """Counts of groups by labels, (G, C), in some splits."""
        inside = np.isin(self.splits, splits)
        return contingency(attribute.values[inside], self.labels[inside], (len(attribute.groups), len(self.names)))


def associations(attributes: Sequence[Attribute], images: Labelled, fdr: float) -> pd.DataFrame:
    """A row per attribute, columns `ASSOCIATIONS`: how it goes with the label.

    `v_*` is Cramér's V in each split, `information` the mutual information in `train` in bits, `shift` how far the
    label's shares within a group are, in the mean of the training images, from those in the held-out images (total
    variation, in [0, 1]); 95 % intervals by bootstrap over images. `q_train` and `q_shift` are false discovery rates,
    over all attributes, of "it goes with the label in `train`" and of "it does so otherwise in `val` and `test`". An
    attribute is `suspect` where both are below `fdr`; it `follows` another suspect one where nothing is left of the
    shift among images that are alike in that other one: then the other is named, and not it.
    """
    rows = [_row(attribute, images) for attribute in attributes]
    table = pd.DataFrame(rows).reindex(columns=ASSOCIATIONS)
    for test in ("train", "shift"):
        table[f"q_{test}"] = false_discovery(table[f"q_{test}"].to_numpy(float))
    tied = (table["q_train"] < fdr) & (table["v_train"] >= LEAST)
    _name(table, attributes, images, tied & (table["q_shift"] < fdr), fdr)
    return table


def _row(attribute: Attribute, images: Labelled) -> dict[str, object]:
    rng = np.random.default_rng(0)
    tables = {split: images.table(attribute, split) for split in ("train", "val", "test")}
    again = {split: drawn_again(table, rng) for split, table in tables.items()}
    train, held = tables["train"], tables["val"] + tables["test"]
    row: dict[str, object] = {
        "part": attribute.part,
        "kind": attribute.kind,
        "groups": len(attribute.groups),
        "images": int(train.sum()),
        "information": mutual_information(train),
        "q_train": independence(train),
    }
    for split, table in tables.items():
        row[f"v_{split}"] = float(cramers_v(table[None].astype(float))[0])
        row[f"v_{split}_low"], row[f"v_{split}_high"] = interval(cramers_v(again[split]))
    found, df = shift(train, held)
    row["q_shift"] = float(chi2.sf(found, df)) if df else np.nan
    row["shift"] = float(apart(train[None].astype(float), held[None].astype(float))[0])
    row["shift_low"], row["shift_high"] = interval(apart(again["train"], again["val"] + again["test"]))
    return row


def apart(train: NDArray[np.float64], held: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ_g P(g) ½ Σ_y |P_train(y | g) − P_held(y | g)|, P(g) as in `train`, of tables (…, G, C); groups that either
    lacks left out."""
    shares = [table / np.maximum(table.sum(-1, keepdims=True), 1) for table in (train, held)]
    both = (train.sum(-1) > 0) & (held.sum(-1) > 0)
    weight = train.sum(-1) * both
    total: NDArray[np.float64] = (weight * np.abs(shares[0] - shares[1]).sum(-1) / 2).sum(-1) / np.maximum(
        weight.sum(-1), 1
    )
    return np.where(weight.sum(-1) > 0, total, np.nan)


def _name(
    table: pd.DataFrame, attributes: Sequence[Attribute], images: Labelled, suspect: pd.Series, fdr: float
) -> None:
    """Fill in `suspect` and `follows`: the strongest shift is named first, and what follows from it is not named
    again."""
    table["suspect"], table["follows"] = False, ""
    strata = np.zeros(len(images.labels), np.int64)
    train, named = images.splits == "train", ""
    left = [k for k in table.index if suspect[k]]
    while left:
        shape = {k: (len(attributes[k].groups), len(images.names)) for k in left}
        p = {k: shift_within(attributes[k].values, images.labels, train, strata, shape[k]) for k in left}
        for k in [k for k in left if named and p[k] >= fdr]:
            table.loc[k, "follows"] = named
            left.remove(k)
        if left:
            first = min(left, key=lambda k: (p[k], -float(table["shift"][k])))
            table.loc[first, "suspect"] = True
            left.remove(first)
            named = attributes[first].name
            strata = np.unique(np.stack([strata, attributes[first].values]), axis=1, return_inverse=True)[1].ravel()


def leaning(attribute: Attribute, images: Labelled) -> NDArray[np.int64]:
    """The label that each group is tied to, (G,): whose share it raises most in `train`, against held-out images, or
    against all of `train` where the labels of those are others."""
    train, held = images.table(attribute, "train") + 0.5, images.table(attribute, "val", "test") + 0.5
    share = train / train.sum(1, keepdims=True)
    comparable = (images.table(attribute, "val", "test").sum(0) > 0)[images.table(attribute, "train").sum(0) > 0].any()
    usual = held / held.sum(1, keepdims=True) if comparable else train.sum(0) / train.sum()
    found: NDArray[np.int64] = (share - usual).argmax(1)
    return found


def agrees(attribute: Attribute, images: Labelled) -> NDArray[np.float64]:
    """Of each image, (N,): 1 where the tie tells its label, 0 where it tells another, NaN where it tells none."""
    lean = leaning(attribute, images)[np.maximum(attribute.values, 0)]
    return np.where(attribute.values < 0, np.nan, (lean == images.labels).astype(float))
