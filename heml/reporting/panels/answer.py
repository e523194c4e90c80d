"""What was found, in sentences: which part tells the label, what looks like a bias, how sure the tree is, and where it
errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from heml.distances import standardise
from heml.explanation.pairs import words
from heml.reporting.crops import crop
from heml.reporting.finished import Finished

PLACE = 10
TITLE = "Findings"

MOST = 3
"""Images a finding."""


def context(finished: Finished) -> dict[str, Any]:
    """Cards: `sentence`, `sure`, `pictures` and `link`, the one to read first in front."""
    return {
        "cards": [
            card for card in (made(finished) for made in (_bias, _tells, _whole, _mistakes, _labels, _twice)) if card
        ]
    }


def _card(
    sentence: str, sure: str, link: tuple[str, str], pictures: list[dict[str, str]], kind: str = ""
) -> dict[str, Any]:
    return {"sentence": sentence, "sure": sure, "link": link[0], "linked": link[1], "pictures": pictures, "kind": kind}


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _enumerated(names: Sequence[str]) -> str:
    """*a*, *a and b*, *a, b and c*."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _bias(finished: Finished) -> dict[str, Any]:
    """The strongest finding; or that none was made."""
    if not finished.bias.told["findings"]:
        looked = len(finished.bias.associations)
        return _card(
            "No part was found that tells the label in the training images alone.",
            f"{looked} looks of parts and columns were held against the label, with a false discovery rate of"
            f" {finished.params.bias.fdr:g}.",
            ("#bias", "what was looked at"),
            [],
        )
    first = finished.bias.told["findings"][0]
    ids = [image_id for group in first["typical"].values() for image_id in group[:1]]
    more = len(finished.bias.told["findings"]) - 1
    part, kind = words(first["part"]), first["kind"]
    told = (
        f"Looks like a bias: the {kind} of {part} tells {finished.description.label} in the training images, and not in"
        " the others."
    )
    if more:
        told += f" {more} more {'look' if more > 1 else 'looks'} like it."
    return _card(
        told, _plainly(first), ("#bias", "the evidence, and ways out"), _crops(finished, ids, first["part"]), "warn"
    )


def _plainly(finding: Mapping[str, Any]) -> str:
    """Which look goes with which label, and what that does to the part's own answers and to the whole."""
    by_label: dict[str, list[str]] = {}
    for group, label in finding["told"].items():
        by_label.setdefault(label, []).append(group)
    ties = [
        f"{_enumerated(groups)} go{'es' if len(groups) == 1 else ''} with {label}" for label, groups in by_label.items()
    ]
    told = f"In training, {'; '.join(ties)}."
    node, tree = finding["node"], finding["tree"]
    if node and node["against"] is not None:
        told += (
            f" Going by {words(node['node'])} alone, it is right for {_percent(node['with'])} of the test images where"
            f" that holds, and for {_percent(node['against'])} where it does not."
        )
    if tree["against"] is not None and tree["fall_low"] is not None:
        both = f"{_percent(tree['with'])} against {_percent(tree['against'])}"
        suffers = tree["fall_low"] > 0
        told += f" The whole answer suffers: {both}." if suffers else f" That the whole suffers is not sure: {both}."
    return told


def _tells(finished: Finished) -> dict[str, Any] | None:
    """The part that tells the label best, of those that surely tell anything."""
    leaves = finished.table[finished.table["node"].isin(finished.tree.leaves()) & finished.table["p@1"].notna()]
    sure = leaves[leaves["p@1_low"] > leaves["majority"]]
    if not len(leaves):
        return None
    if not len(sure):
        return _card(
            f"No single part surely tells {finished.description.label}.",
            "Every part's interval reaches down to what the commonest label alone would give.",
            ("#nodes", "every part"),
            [],
            "warn",
        )
    best = sure.sort_values("p@1", ascending=False, kind="stable").iloc[0]
    name = str(best["node"])
    return _card(
        f"Of all parts, {words(name)} tells {finished.description.label} best: for {_percent(best['p@1'])} of the test"
        f" images that show it, the image with the most similar {words(name)} has the same label.",
        f"95 % interval {_percent(best['p@1_low'])} to {_percent(best['p@1_high'])}; a random image would be right in"
        f" {_percent(best['chance'])}, the commonest label in {_percent(best['majority'])}. {len(sure)} of"
        f" {len(leaves)} parts are surely above that.",
        (f"#node={name}", f"look at {words(name)}"),
        _crops(finished, _alike(finished, name), name),
    )


def _alike(finished: Finished, node: str) -> list[str]:
    """A test image that the node finds right, and its two nearest of the same label."""
    stored = finished.gallery.embeddings[node]
    asked, held = stored.rows("test"), stored.rows("test" if finished.params.evaluate.search == "within" else "train")
    x = standardise(stored.vectors)
    for row in asked.tolist():
        others = held[held != row]
        near = others[(x[others] @ x[row]).argsort(descending=True, stable=True)[: MOST - 1].numpy()]
        if len(near) == MOST - 1 and (stored.labels[near] == stored.labels[row]).all():
            return [stored.image_ids[r] for r in (row, *near.tolist())]
    return []


def _whole(finished: Finished) -> dict[str, Any] | None:
    root: dict[Any, Any] = finished.table.set_index("node").loc[finished.tree.root].to_dict()
    if "tree_p@1" not in finished.metrics:
        return None
    low, high = (finished.metrics.get(f"tree_p@1_{end}") for end in ("low", "high"))
    sure = f"95 % interval {_percent(low)} to {_percent(high)}; " if low is not None and high is not None else ""
    sure += (
        f"a random image would be right in {_percent(root['chance'])}, the commonest label in"
        f" {_percent(root['majority'])}"
    )
    if not pd.isna(root["limit"]):
        sure += f"; the best that anything could reach is {_percent(root['limit'])}"
    if "tree_ece" in finished.metrics:
        off = 100 * finished.metrics["tree_ece"]
        sure += f". What it gives as probability is {off:.1f} points off on average" + (
            ": too much to read it as one" if off > 5 else ""
        )
    told = f"All parts together are right for {_percent(finished.metrics['tree_p@1'])} of the test images."
    return _card(told, sure + ".", ("#numbers", "all numbers"), [])


def _mistakes(finished: Finished) -> dict[str, Any] | None:
    wrong = finished.audit.mistakes
    asked = int((finished.gallery.canvases.splits == "test").sum())
    if not len(wrong):
        return _card(
            f"None of the {asked} test images is taken for another label.", "", ("#audit", "what to look at"), []
        )
    first, blame = wrong.iloc[0], wrong["blame"].value_counts()
    names = finished.labels
    most = [words(node) for node in blame.index[blame == blame.iloc[0]]]
    whose = (
        f"{most[0]} is to blame most often ({blame.iloc[0]} of {len(wrong)})"
        if len(most) == 1
        else f"the parts to blame most often are {_enumerated(most)} ({blame.iloc[0]} each)"
    )
    return _card(
        f"{len(wrong)} of {asked} test images {'is' if len(wrong) == 1 else 'are'} taken for another label; {whose}.",
        f"The surest one: {first['image_id']} ({names[first['label']]}), taken for {first['nearest']}"
        f" ({names[first['nearest_label']]}).",
        (f"#pair={first['image_id']},{first['nearest']}", "why"),
        _crops(finished, [first["image_id"], first["nearest"]], ""),
    )


def _labels(finished: Finished) -> dict[str, Any] | None:
    doubtful = finished.audit.doubtful
    if not len(doubtful):
        return None
    first = doubtful.iloc[0]
    return _card(
        f"{len(doubtful)} label{'s' if len(doubtful) > 1 else ''} should be checked: nearly all images most like these"
        " have another one.",
        f"First of them {first['image_id']}: {finished.labels[int(first['label'])]}, and {_percent(first['doubt'])} of"
        " its neighbours are not.",
        ("#audit", "all of them"),
        _crops(finished, doubtful["image_id"].head(MOST).tolist(), ""),
    )


def _twice(finished: Finished) -> dict[str, Any] | None:
    if not len(finished.duplicates):
        return None
    first = finished.duplicates.iloc[0]
    count = len(finished.duplicates)
    known = [i for i in (first["image_a"], first["image_b"]) if i in finished.gallery]
    return _card(
        f"{count} pair{'s' if count > 1 else ''} of images in different splits look{'' if count > 1 else 's'} like the"
        " same picture: test scores may be too good.",
        f"Correlation of grey thumbnails at least {finished.params.evaluate.near_duplicate:g}.",
        ("#data", "which"),
        _crops(finished, known, ""),
        "warn",
    )


def _crops(finished: Finished, image_ids: list[str], part: str) -> list[dict[str, str]]:
    found = [crop(finished, image_id, part) for image_id in image_ids[: MOST + 1]]
    labels = finished.gallery.canvases.labels
    for picture in found:
        picture["label"] = finished.labels[int(np.asarray(labels)[finished.gallery.row(picture["image_id"])])]
    return found
