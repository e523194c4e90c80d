"""`reports/bias/`: what was looked at, as tables, and what was found, as JSON; `reports/bias.json`: what compares
experiments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from heml.atomic import new_folder
from heml.bias.attributes import Attribute, attributes
from heml.bias.findings import CAVEATS, Finding, findings
from heml.bias.group_scores import GROUPS, LEANS, group_table, leaning_row, node_hits, tree_hits
from heml.bias.reliance import exchanges, pairs_of_two_labels, reliance_rows, reliance_table
from heml.bias.remedies import remedies, remedy_table
from heml.bias.ties import Labelled, associations
from heml.cells import write_csv
from heml.evaluation.retrieval import floors, search_in
from heml.explanation.metric_tree import MetricTree
from heml.explanation.views import Gallery
from heml.images.shards import read_description
from heml.json_file import write_json
from heml.params import Params
from heml.run import Run
from heml.tree import Tree

ATTRIBUTES = "part kind group train val test typical".split()
MEMBERS = "part kind group image_id".split()


def look(gallery: Gallery, params: Params) -> tuple[list[Attribute], Labelled]:
    """What can be said of a data set's images, and their labels."""
    canvases, images = gallery.canvases, gallery.run.images
    found = list(attributes(canvases, gallery.partitions, images, params.bias))
    return found, Labelled(canvases.labels, canvases.splits, read_description(images).label_names)


def write_bias(params: Params, run: Run) -> list[Finding]:
    """Write the tables `attributes`, `associations`, `members` (of the groups of what was found), `groups`, `leans`,
    `reliance`, `remedies`, and `findings.json`; returns the findings."""
    tree = Tree.from_params(params)
    trained = MetricTree.load(run.models, run.data)
    gallery = trained.gallery
    assert gallery is not None
    looked, images = look(gallery, params)
    known = associations(looked, images, params.bias.fdr)
    embeddings = gallery.embeddings
    by_tree = tree_hits(embeddings, tree, trained.metric, params.evaluate)
    by_node = {name: node_hits(stored, params.evaluate) for name, stored in embeddings.items()}
    leans, groups, deflated = [], [], []
    # Every attribute is held against the tree; only a suspect one against single nodes and remedies, which take longer.
    for attribute, suspect in zip(looked, known["suspect"].tolist(), strict=True):
        leans.append(leaning_row(attribute, images, by_tree, ""))
        groups.append(group_table(attribute, images, by_tree.test))
        if suspect:
            leans += [leaning_row(attribute, images, by_node[node], node) for node in _holding(tree, attribute.part)]
            if attribute.part in tree.leaves():
                deflated += list(remedies(attribute, images, embeddings, params, run))
    # Exchanging a part between two images of different labels shows what the tree makes of the part itself.
    pairs = pairs_of_two_labels(embeddings[tree.root].rows("test"), images.labels, params.bias.pairs)
    moved = [
        row
        for part in (exchanges(pairs, gallery.view, tree, trained.metric, trained.made) if len(pairs) else ())
        for row in reliance_rows(part, [attribute for attribute in looked if attribute.part == part.part])
    ]
    tables = {
        "attributes": _attribute_table(looked, images, gallery.canvases.image_ids),
        "associations": known,
        "members": _members(
            [a for a, suspect in zip(looked, known["suspect"], strict=True) if suspect], gallery.canvases.image_ids
        ),
        "groups": pd.concat(groups) if groups else pd.DataFrame(columns=GROUPS),
        "leans": pd.DataFrame(leans, columns=LEANS),
        "reliance": reliance_table(moved),
        "remedies": remedy_table(deflated),
    }
    found = findings(looked, images, gallery.canvases.image_ids, known, tables["leans"], tables["reliance"])
    # Floors, without which a fall of P@1 cannot be read.
    search = search_in(embeddings[tree.root].rows, "test", params.evaluate.search)
    chance, majority = floors(images.labels[search.asked], images.labels[search.held])
    told = {
        "findings": [finding.to_dict() for finding in found],
        "chance": chance,
        "majority": majority,
        "caveats": CAVEATS,
    }
    with new_folder(run.bias) as partial:
        for name, table in tables.items():
            write_csv(table, partial / f"{name}.csv", "%.6g")
        write_json(partial / "findings.json", told)
    write_json(run.bias_metrics, summary(found))
    return found


def summary(found: Sequence[Finding]) -> dict[str, Any]:
    """What compares experiments: of each finding how strong the tie is, and what the tree makes of it."""
    keys = {"with": "tie_holds_p@1", "against": "tie_broken_p@1", "fall": "fall", "worst": "worst_group_p@1"}
    tied = {
        f"{finding.part}_{finding.kind}": {"v_train": round(finding.v_train, 4)}
        | {name: round(finding.tree[key], 4) for key, name in keys.items() if finding.tree[key] is not None}
        for finding in found
    }
    return {"findings": len(found), **tied}


def _holding(tree: Tree, part: str) -> list[str]:
    """The nodes that see a segment; none sees a column."""
    return [node.name for node in tree if part in tree.sees(node.name)]


def _attribute_table(looked: Sequence[Attribute], images: Labelled, image_ids: Sequence[str]) -> pd.DataFrame:
    rows = []
    for attribute in looked:
        for k, group in enumerate(attribute.groups):
            counts = {
                split: int(np.sum((attribute.values == k) & (images.splits == split)))
                for split in ("train", "val", "test")
            }
            typical = " ".join(image_ids[row] for row in attribute.typical[k])
            rows.append(
                {"part": attribute.part, "kind": attribute.kind, "group": group} | counts | {"typical": typical}
            )
    return pd.DataFrame(rows, columns=ATTRIBUTES)


def _members(suspects: Sequence[Attribute], image_ids: Sequence[str]) -> pd.DataFrame:
    """Every image of every group."""
    rows = [
        (attribute.part, attribute.kind, attribute.groups[value], image_id)
        for attribute in suspects
        for value, image_id in zip(attribute.values.tolist(), image_ids, strict=True)
        if value >= 0
    ]
    return pd.DataFrame(rows, columns=MEMBERS)
