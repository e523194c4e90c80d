"""What the ways of deflating that train nothing would make of a tie: measured, not promised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from heml.bias.attributes import Attribute
from heml.bias.balance import balanced
from heml.bias.group_scores import leaning_row, tree_hits
from heml.bias.ties import Labelled
from heml.evaluation.embeddings import NodeEmbeddings, embed_node
from heml.evaluation.weighing import weigh
from heml.params import Metric, Params
from heml.run import Run
from heml.tree import Tree

REMEDIES = "part kind remedy setting now p@1 with against fall fall_low fall_high worst".split()


def ways(part: str) -> dict[str, tuple[list[str], list[str], list[str]]]:
    """What can be done about a part without training: `metric.balance`, `metric.off` and `embed.hide`."""
    return {
        "nothing": ([], [], []),
        "weights balanced over it": ([part], [], []),
        "left out of the answer": ([], [part], []),
        "hidden from nodes of other parts": ([], [], [part]),
        "hidden, and left out": ([], [part], [part]),
    }


def remedies(
    attribute: Attribute, images: Labelled, embeddings: Mapping[str, NodeEmbeddings], params: Params, run: Run
) -> Iterator[dict[str, object]]:
    """A row per way, columns `REMEDIES`: what the tree as it is trained finds in test; `now`: the way that the
    parameters go."""
    now = (params.metric.balance, params.metric.off, params.embed.hide)
    tried, seeing = ways(attribute.part), {}
    for name, (balance, off, hide) in (
        tried.items() if now in tried.values() else [*tried.items(), ("as it is now", now)]
    ):
        tree = Tree(list(Tree.from_params(params)), hide)
        if tree.hidden not in seeing:
            seeing[tree.hidden] = {name: _seeing(tree, stored, params, run) for name, stored in embeddings.items()}
        seen = seeing[tree.hidden]
        settings = Metric(weights=params.metric.weights, balance=balance, off=off)
        counts = balanced(balance, params.bias.groups, run)
        metric = weigh(seen, tree, settings, params.evaluate.search, counts, resamples=0)
        row = leaning_row(attribute, images, tree_hits(seen, tree, metric, params.evaluate), "")
        about = {
            "remedy": name,
            "setting": _setting(balance, off, hide),
            "now": (balance, off, hide) == now,
            "p@1": row["test"],
        }
        yield about | {key: row[key] for key in REMEDIES if key in row}


def _setting(balance: list[str], off: list[str], hide: list[str]) -> str:
    """As it stands in params.yaml."""
    keys = (("metric", "balance", balance), ("metric", "off", off), ("embed", "hide", hide))
    return ", ".join(f"{section}: {{{key}: [{', '.join(names)}]}}" for section, key, names in keys if names)


def _seeing(tree: Tree, stored: NodeEmbeddings, params: Params, run: Run) -> NodeEmbeddings:
    """A node's embeddings as a tree sees the images; the stored ones where that is how they were made."""
    node = stored.node
    if tree.sees(node) == Tree.from_params(params).sees(node):
        return stored
    return embed_node(node, tree.sees(node), run)


def remedy_table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """The rows as a table."""
    return pd.DataFrame(rows, columns=REMEDIES)
