"""A run's model card, the README.md of its hub repository: what the tree is for, what it reaches and over which floors,
what is known of its bias, and on what terms. Everything that comes from data is text there, never markup."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from heml.errors import HemlError, fault, shown
from heml.explanation.metric_tree import MetricTree
from heml.params import Params
from heml.reading import ComparisonRow, Findings, Numbers, check_known, read_csv, read_json, read_node_report
from heml.run import Run
from heml.tree import Tree

COLUMNS = "node segments p@1 p@1_low p@1_high chance majority p@1_untrained queries".split()
"""What a card tells of `reports/nodes.csv`, whose others are read and not shown."""


@dataclass(frozen=True)
class Told:
    """What the reports of a run say, as far as a card needs it."""

    nodes: pd.DataFrame
    """`reports/nodes.csv`."""
    whole: dict[str, Any]
    """`reports/comparison/tree/row.json`: the whole tree's scores and floors."""
    metrics: dict[str, float | None]
    """`reports/metrics.json`."""
    bias: dict[str, Any]
    """`reports/bias/findings.json`."""
    root: dict[str, Any]
    """`reports/nodes/<root>.json`."""
    terms: dict[str, str]
    """Of the `dataset` and of the `segmenter`."""

    @classmethod
    def read(cls, run: Run, tree: Tree) -> Told:
        """Read them.

        Raises:
            HemlError: one is missing, damaged or of another tree.
        """
        table = read_csv(run.table, "dvc repro evaluate", COLUMNS, ["node", "segments"])
        check_known(run.table, "dvc repro evaluate", table["node"], tree.nodes, "a node")
        if len(table) != len(tree):
            raise fault(run.table, "does not list the tree's nodes", "dvc repro evaluate")
        return cls(
            table,
            read_json(run.comparison("tree") / "row.json", "dvc repro evaluate", ComparisonRow),
            read_json(run.metrics, "dvc repro evaluate", Numbers),
            read_json(run.bias / "findings.json", "dvc repro bias", Findings),
            read_node_report(run, tree.root),
            {name: _terms(run.terms(name)) for name in ("dataset", "segmenter")},
        )


def _terms(path: Path) -> str:
    try:
        return shown(path.read_text("utf-8").strip(), "\n\t")
    except FileNotFoundError:
        raise HemlError(
            f"{path}: no such file; run `dvc repro {path.stem.replace('dataset', 'download')}` first"
        ) from None
    except (OSError, ValueError) as error:
        raise fault(path, f"is damaged ({error})", f"dvc repro {path.stem.replace('dataset', 'download')}") from None


def model_card(tree: MetricTree, params: Params, told: Told, licence: str, masks: bool) -> str:
    """The card, Markdown with a YAML head.

    Args:
        licence: an identifier of the hub's, of the weights; `other`: the terms below are all that is said.
        masks: the run's segmenter is its data set's own masks.
    """
    title = params.report.title
    sections = [
        f"---\n{_head(params, told, licence)}---",
        f"# {_text(title)}",
        (
            f"A metric tree (HEML): how likely two images have one label, `{_code(params.dataset.label)}`, as a sum of"
            " what every part of the image says for it or against it."
        ),
        _indented(tree.tree.draw()),
        _use(tree, masks),
        _scores(tree, told),
        _limits(tree, params, told, masks),
        _bias(told),
        "## Terms",
        *(
            f"Of the {what}:\n\n{_indented(told.terms[name])}"
            for name, what in (("dataset", "data set"), ("segmenter", "segmenter"))
        ),
        f"Of these weights: {'see the terms above' if licence == 'other' else _text(licence)}.",
    ]
    return "\n\n".join(sections) + "\n"


def _head(params: Params, told: Told, licence: str) -> str:
    """The YAML that the hub reads; scores stand there as results of a model."""
    named = {"license": licence} | (
        {"license_name": "terms-in-the-card", "license_link": "README.md"} if licence == "other" else {}
    )
    results = [
        {"type": key, "name": name, "value": told.metrics[key]}
        for key, name in (
            ("tree_p@1", "P@1 of the whole tree on test"),
            ("tree_map@r", "MAP@R"),
            ("tree_auc", "AUC of pairs"),
        )
        if told.metrics.get(key) is not None
    ]
    title = shown(params.report.title)
    result = {
        "task": {"type": "image-feature-extraction"},
        "dataset": {"name": params.dataset.name, "type": params.dataset.name},
        "metrics": results,
    }
    head = named | {
        "library_name": "heml",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["heml", "metric-learning", "explainability", "image-retrieval"],
        "model-index": [{"name": title, "results": [result]}],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def _use(tree: MetricTree, masks: bool) -> str:
    opened = (
        'tree = heml.MetricTree.from_pretrained("owner/name", revision="…")  # this repository and its commit, all 40'
        " digits; or a folder"
    )
    if not masks:
        code = f'import heml\n\n{opened}\nprint(tree.explain("a.jpg", "b.jpg"))'
        return (
            f"## Use\n\n```python\n{code}\n```\n\n`segmenter/` cuts new images into parts; `params.yaml` is how all of"
            " it was made."
        )
    height, width = tree.root.canvas.height, tree.root.canvas.width
    code = f"""import heml
from heml.explanation.views import View

{opened}
first = View("first", pixels, masks, {{}})  # ({height}, {width}, 3) uint8; segment → ({height}, {width}) bool
print(tree.explain(first, second))"""
    return (
        "## Use\n\n**No segmenter is in here:** the run took its data set's own masks. So image files cannot be"
        " explained; views can, which are an image and the masks of its parts, laid on the tree's"
        f" canvas.\n\n```python\n{code}\n```"
    )


def _scores(tree: MetricTree, told: Told) -> str:
    rows = told.nodes.set_index("node")
    order = [node.name for node, _ in tree.tree.depth_first()]
    lines = ["| | P@1 | 95 % interval | chance | majority | untrained | test images |", "|---|---|---|---|---|---|---|"]
    for name, row in [("**whole tree**", told.whole), *((f"`{name}`", rows.loc[name]) for name in order)]:
        between = f"{_percent(row['p@1_low'])} to {_percent(row['p@1_high'])}"
        floors = (_percent(row.get(key)) for key in ("chance", "majority", "p@1_untrained"))
        lines.append(f"| {name} | {_percent(row['p@1'])} | {between} | {' | '.join(floors)} | {row['queries']:.0f} |")
    return (
        "## Scores\n\nOn `test`: how often the nearest image has the same label (P@1), in percent. Floors: the *chance*"
        " of a neighbour drawn at random, always saying the *majority*, and the same network *untrained*.\n\n"
        + "\n".join(lines)
    )


def _limits(tree: MetricTree, params: Params, told: Told, masks: bool) -> str:
    present = told.root["present"]
    counts = ", ".join(f"{present[split]} in `{split}`" for split in ("train", "val", "test") if split in present)
    low = told.nodes.loc[~(told.nodes["p@1_low"] > told.nodes["majority"]), "node"].tolist()
    lines = [
        (
            "Meant for comparing images like those it was trained on, for finding which part speaks for one label or"
            " another, and for finding bias in such data. Not for decisions about people."
        ),
        (
            f"Trained and tested on one data set (`{_code(params.dataset.name)}`; images that show the root: {counts})."
            " Nothing is known of other cameras, other places, other people."
        ),
        "Its percentages are for even odds: of the pairs that it was fitted on, half were of one label.",
        (
            f"An image is seen at {tree.root.canvas.height} × {tree.root.canvas.width} pixels; a part that is not found"
            " says nothing."
        ),
    ]
    if not masks:
        lines.append("What the segmenter cuts wrongly, every node above it sees wrongly.")
    if low:
        lines.append(f"Not shown to do better than the majority: {', '.join(f'`{name}`' for name in low)}.")
    return "## Intended use and limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _bias(told: Told) -> str:
    found = [_text(finding["sentence"]) for finding in told.bias["findings"]]
    lines = found or ["No part was found to tell the label in `train` and not in the held-out images."]
    return "## Bias\n\n" + "\n".join(f"- {line}" for line in [*lines, *map(_text, told.bias["caveats"])])


def _percent(value: Any) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _text(text: str) -> str:
    """Text from data as Markdown that shows it and does nothing else."""
    return re.sub(r"[\\`*_\[\]<>#!|~&$@]|:(?=//)|(?<=www)\.", r"\\\g<0>", shown(text))


def _code(text: str) -> str:
    """Text from data within a code span."""
    return shown(text).replace("`", "'").replace("|", "¦")


def _indented(text: str) -> str:
    """Lines as a block of code, which nothing in them can end."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
