"""What was found, in sentences: the parts that tell the label in `train` alone, and what the tree makes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from heml.bias.attributes import Attribute
from heml.bias.ties import Labelled, leaning

CAVEATS = (
    (
        "An association is no cause: that a part goes with the label in the training images does not prove that it"
        " should not."
    ),
    (
        "What holds in train, val and test alike cannot be told from the truth by these images: only who knows them can"
        " say whether it should."
    ),
    "What was not cut out as a part, nor stands in the table, was not looked at.",
)


@dataclass(frozen=True)
class Finding:
    """One attribute whose tie to the label does not hold outside `train`."""

    part: str
    kind: str
    sentence: str
    v_train: float
    v_val: float | None
    v_test: float | None
    q: float
    """False discovery rate of the shift."""
    told: dict[str, str]
    """Group → the label that it is tied to."""
    typical: dict[str, list[str]]
    """Group → image_ids."""
    tree: dict[str, Any]
    """The tree's row of `leans.csv`."""
    node: dict[str, Any] | None
    """That of the node whose P@1 falls most where the tie does not hold."""
    turned: float | None
    """Share of the pairs of two labels that this part's exchange alone turns."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def findings(
    attributes: Sequence[Attribute],
    images: Labelled,
    image_ids: Sequence[str],
    associations: pd.DataFrame,
    leans: pd.DataFrame,
    reliance: pd.DataFrame,
) -> list[Finding]:
    """The suspect attributes, the strongest tie first; the tables are those of `heml.bias.write`."""
    found = []
    for place in associations.index[associations["suspect"]]:
        attribute, row = attributes[place], associations.loc[place]
        own = leans[(leans["part"] == attribute.part) & (leans["kind"] == attribute.kind)]
        tree = own[own["node"] == ""].iloc[0]
        nodes = own[(own["node"] != "") & own["fall"].notna()]
        node = nodes.loc[nodes["fall"].idxmax()] if len(nodes) else None
        whole = reliance[(reliance["part"] == attribute.part) & (reliance["group"] == "all")]
        lean = leaning(attribute, images)
        found.append(
            Finding(
                attribute.part,
                attribute.kind,
                sentence(row, tree, nodes),
                float(row["v_train"]),
                known(row["v_val"]),
                known(row["v_test"]),
                float(row["q_shift"]),
                {group: images.names[label] for group, label in zip(attribute.groups, lean.tolist(), strict=True)},
                {g: [image_ids[r] for r in rows] for g, rows in zip(attribute.groups, attribute.typical, strict=True)},
                row_of(tree),
                row_of(node) if node is not None else None,
                known(whole.iloc[0]["turned"]) if len(whole) else None,
            )
        )
    return sorted(found, key=lambda finding: -finding.v_train)


def sentence(row: pd.Series, tree: pd.Series, nodes: pd.DataFrame) -> str:
    """One finding: *glasses: colour tells the label in train (V 0.82), not in val (0.00) or test (0.00); the tree leans
    on it: …*"""
    part, held = (
        str(row["part"]).replace("_", " "),
        [(s, row[f"v_{s}"]) for s in ("val", "test") if not np.isnan(row[f"v_{s}"])],
    )
    elsewhere = " or ".join(f"{split} ({value:.2f})" for split, value in held)
    gone = all(value < row["v_train"] / 2 for _, value in held)
    told = (
        f"{part}: {'its value' if row['kind'] == 'column' else row['kind']} tells the label in train (V"
        f" {row['v_train']:.2f}), "
    )
    told += f"not in {elsewhere}" if gone else f"otherwise in {elsewhere.replace(' or ', ' and ')}"
    if np.isnan(tree["fall"]):
        return told + "; no test image breaks the tie, so what the tree makes of it cannot be told."
    sure = f"({_points(tree['fall'])}, {_points(tree['fall_low'])} to {_points(tree['fall_high'])} points)"
    leaning = nodes[nodes["fall_low"] > 0]
    by_node = ", ".join(
        f"{str(n).replace('_', ' ')} from {_percent(a)} to {_percent(b)}" for n, a, b in _sides(leaning)
    )
    if tree["fall_low"] > 0:
        told += (
            f"; the tree leans on it: with the tie broken P@1 falls from {_percent(tree['with'])} to"
            f" {_percent(tree['against'])} {sure}"
        )
        told += f"; at its nodes: {by_node}" if by_node else ""
    else:
        told += f"; with the tie broken P@1 falls at {by_node}" if by_node else ""
        told += "; that the tree as a whole leans on it cannot be told: "
        told += f"{_percent(tree['with'])} with the tie, {_percent(tree['against'])} against it {sure}"
    few = min(tree["images_with"], tree["images_against"])
    return told + (f". Only {few:.0f} test images stand on one side." if few < 30 else ".")


def _sides(leans: pd.DataFrame) -> list[tuple[str, float, float]]:
    return list(zip(leans["node"].tolist(), leans["with"].tolist(), leans["against"].tolist(), strict=True))


def row_of(row: pd.Series) -> dict[str, Any]:
    """A table's row as JSON has it."""
    return {str(key): value if isinstance(value, str) else known(value) for key, value in row.items()}


def known(value: float) -> float | None:
    """NaN as None."""
    return None if np.isnan(value) else float(value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:.1f}".replace("-", "−")
