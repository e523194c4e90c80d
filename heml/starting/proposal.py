"""A parameter file from what lies in a folder, and what was assumed, in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from heml.errors import HemlError
from heml.meant import meant
from heml.params import Params, Segment, parse_params
from heml.segments.coverage import NO_PART, Coverage, proposed_segments, segments_yaml
from heml.starting.growing import grow, join
from heml.starting.looking import Photos, shape
from heml.starting.models import Model
from heml.starting.parts import Part
from heml.starting.places import meaning, part, plain, usual_area, usual_places
from heml.starting.table import Table
from heml.tree import Tree, to_yaml

LEAST = 0.1
"""Share of the images that must show a class for it to be a segment."""
MOST = 32
"""Segments that are proposed, at most."""
TALL = 1.4
"""Photographs so much taller than wide are taken for whole people."""
TOLD = 0.97
"""A part whose presence agrees with the label in so many images defines it."""


@dataclass(frozen=True)
class Question:
    """What the label is."""

    label: str
    classes: list[str] = field(default_factory=list)
    """Of the rule; empty: a column of the table."""
    area: float = 0.0
    said: str = ""

    @property
    def words(self) -> str:
        """As the report's title asks it."""
        return (
            f"does the image show {self.label.replace('_', ' ')}?"
            if self.classes
            else f"{self.label}: which part says so?"
        )


@dataclass(frozen=True)
class Proposal:
    """A parameter file, checked."""

    text: str
    params: Params
    tree: Tree
    assumed: list[str]
    """Sentences: label, segmenter, segments, tree."""


def ask(
    words: Sequence[str], photos: Photos, table: Table | None, model: Model | None, label: str | None = None
) -> Question:
    """What is to be learnt: a column, or whether the image shows what the words mean.

    Args:
        words: none: the table says, or else the part of the masks that about half of the images show.
        model: what cuts the parts; None: masks do.
        label: a column of the table.

    Raises:
        HemlError: no such column or part, or nothing that says.
    """
    if table and (label or not words):
        return _column(table, label)
    if label:
        raise HemlError(f"--label {label}: a column of a table of labels, and there is none; name it with --labels")
    if (
        table
        and len(words) == 1
        and (own := next((c for c in table.columns if c.casefold() == words[0].casefold()), None))
    ):
        return _column(table, own)
    if not words:
        return _evenly(photos)
    known = [name for name in (model.classes if model else photos.classes) if plain(name) not in NO_PART]
    found = {word: meaning(word, known) for word in words}
    for word, classes in found.items():
        if not classes:
            who = model.name if model else "the masks"
            raise HemlError(
                f"--ask {word}: {who} knows {', '.join(known[:40])}{meant(word, [*known, *map(part, known)])}"
            )
    classes = list(dict.fromkeys(c for found_classes in found.values() for c in found_classes))
    name = "_or_".join(plain(word) or "part" for word in words)
    return _shown(name, classes, [] if model else photos.parts)


def choose(words: Sequence[str], photos: Photos, models: Iterable[Model]) -> tuple[Model, str]:
    """The preset's SegFormer that knows what is asked, and why it was chosen.

    Raises:
        HemlError: none knows it.
    """
    models = list(models)
    if words:
        for model in models:
            if all(meaning(word, model.classes) for word in words):
                return model, f"knows {', '.join(words)}"
        known = "; ".join(
            f"{m.preset}: {', '.join(m.classes[:20])}{' …' if len(m.classes) > 20 else ''}" for m in models
        )
        every = [name for m in models for c in m.classes for name in (c, part(c))]
        near = next((meant(word, every) for word in words if not any(meaning(word, m.classes) for m in models)), "")
        raise HemlError(
            f"--ask {' '.join(words)}: no preset's SegFormer knows it ({known}); name another with --model{near}"
        )
    tall = float(np.median(photos.sizes[:, 1] / photos.sizes[:, 0])) >= TALL
    wanted = "human_parsing" if tall else "celeba"
    fitting = [m for m in models if m.preset == wanted]
    if not fitting:
        raise HemlError("no preset's SegFormer to cut the photographs with; name one with --model")
    model = fitting[0]
    others = ", ".join(f"{m.name} ({m.preset})" for m in models if m is not model)
    kind = "whole people, since they are tall" if tall else "faces, since they are not tall"
    return (
        model,
        f"for photographs of {kind}; if they are not, name another with --model and --revision, such as {others}",
    )


def _column(table: Table, name: str | None) -> Question:
    fit = table.labels()
    if name is None:
        if not fit:
            raise HemlError(
                f"{table.path}: no column has a few values that come twice each"
                f" ({', '.join(table.columns) or 'none but the images'}); name the label's with --label"
            )
        name, others = fit[0], fit[1:]
    elif name not in table.columns:
        raise HemlError(
            f"--label {name}: {table.path} has the columns {', '.join(table.columns)}{meant(name, table.columns)}"
        )
    else:
        others = []
    counts = table.values(name)
    if len(counts) < 2:
        raise HemlError(
            f"--label {name}: has one value in {table.path}, and there is nothing to tell apart; choose another column"
        )
    told = ", ".join(f"{value!r} on {n}" for value, n in counts.most_common(4)) + (" …" if len(counts) > 4 else "")
    said = f"the column {name!r} of {table.path}, of {len(counts)} values ({told})"
    if missing := len(table.rows) - counts.total():
        said += f"; {missing} images without one are left out"
    return Question(name, said=said + (f"; it could also be {', '.join(others)} (--label)" if others else ""))


def _evenly(photos: Photos) -> Question:
    """Whether the image shows the part that is there most nearly in every other one."""
    parts = [p for p in photos.parts if plain(p.name) not in NO_PART and 0.05 <= p.coverage.present <= 0.95]
    if not parts:
        raise HemlError(
            f"{photos.root}: nothing says what to learn; ask for a part (--ask glasses), or give a table of labels"
            " (--labels table.csv)"
        )
    best = min(parts, key=lambda p: abs(p.coverage.present - 0.5))
    found = _shown(plain(best.name) or "part", [best.name], photos.parts)
    others = [p.name for p in parts if p is not best]
    more = (
        f"; nothing was asked, and this part is there most evenly. Others: --ask {' | '.join(others[:8])}"
        if others
        else ""
    )
    return Question(found.label, found.classes, found.area, found.said + more)


def _shown(name: str, classes: list[str], parts: Sequence[Part]) -> Question:
    """A rule: enough of the classes is seen."""
    mine = [p.areas for p in parts if p.name in classes]
    if not mine:
        usual = usual_area(classes)
        area = _round(min(max((usual or 0.02) / 4, 0.0005), 0.005))
        said = f"whether {' or '.join(classes)} covers at least {area:.2%} of the image (dataset.rule)"
        return Question(name, classes, area, f"{said}; `dvc repro download` counts both and says where one is rare")
    covered = np.sum(mine, 0)
    seen = covered[covered >= 0.0005]
    if not 0 < len(seen) < len(covered):
        who = "every mask" if len(seen) else "no mask"
        raise HemlError(
            f"--ask {name}: {who} of the {len(covered)} looked at shows {' or '.join(classes)}; ask for another part"
        )
    area = _round(min(max(float(np.quantile(seen, 0.1)) / 2, 0.0005), 0.005))
    share = float((covered >= area).mean())
    said = (
        f"whether {' or '.join(classes)} covers at least {area:.2%} of the image (dataset.rule), as in {share:.0%} of"
        " the images"
    )
    return Question(name, classes, area, said)


def _round(area: float) -> float:
    return float(f"{area:.1g}")


def draft(
    photos: Photos,
    path: str,
    question: Question,
    table: Table | None,
    model: Model | None,
    why: str,
    template: str,
    command: str,
) -> Proposal:
    """The parameter file.

    Args:
        path: where the pipeline finds the images (dataset.path).
        model: what cuts the parts, and `why`; None: the masks.
        template: a preset's text, whose other sections are kept.
        command: what is said to have made the file.

    Raises:
        HemlError: fewer than two parts to join.
    """
    assumed = [f"label: {question.said}"]
    without = question.classes or _defining(photos, table, question.label)
    size = dict(zip(("height", "width"), shape(photos.sizes, 64), strict=True))
    if model:
        segments, tree, how = _of_model(model, without)
        rule = {"model": model.name, "revision": model.revision, "size": model.size.model_dump()}
        segmenter: dict[str, Any] = {"source": "pretrained", **rule, "batch_size": 8}
        fetched = ". It is fetched once; its licence: `heml datasets`" if model.revision else ""
        assumed.append(f"segmenter: {model.name}, {why}{fetched}")
    else:
        segments, tree, how = _of_masks(photos, without)
        rule = {}  # masks lie beside the images: there is no network to name
        whole = not photos.unmasked
        sides = dict(zip(("height", "width"), shape(photos.sizes, 128), strict=True))
        segmenter = {
            "source": "masks" if whole else "finetune",
            "architecture": "tiny",
            "size": sides,
            "epochs": 30,
            "batch_size": 8,
        }
        segmenter |= {"lr": 0.005, "class_weight_power": 0.4, "augment": True, "seed": 0}
        assumed.append(
            "segmenter: none, every image has a mask (`source: finetune` fits one to them, so that new photographs can"
            " be explained)"
            if whole
            else f"segmenter: a small SegFormer fitted to the masks, since {photos.unmasked} images have none"
        )
    dataset: dict[str, Any] = {"name": "folder", "path": path, "label": question.label}
    if question.classes:
        own = {key: value for key, value in rule.items() if value is not None}
        dataset["rule"] = {"classes": question.classes, "area": question.area, **own}
    if photos.turned and photos.masks and photos.stored is not None:
        dataset["masks"] = "stored" if photos.stored else "upright"
        assumed.append(
            f"masks: lie over {photos.turned} images that EXIF turns as they are"
            f" {'stored' if photos.stored else 'shown'}, by their size"
        )
    dataset |= {"on_bad_image": "skip", "seed": 0}
    if without:
        assumed.append(_left_out(question, without))
    assumed.append(f"segments: {', '.join(segments)}, {how[0]}")
    assumed.append(f"tree: {how[1]}; rename its nodes to words that you would use")
    title = f"{plain(photos.root.resolve().name).replace('_', ' ').capitalize() or 'Photographs'}: {question.words}"
    own_sections = {
        "dataset": _section("dataset", dataset),
        "segmenter": _section("segmenter", segmenter),
        "segments": "\n".join(segments.values()),
        "canvas": f"canvas: {_flow(size | {'fit': 'pad'})}",
        "tree": to_yaml(tree),
        "report": f"report: {_flow({'title': title, 'overlays': 6, 'pairs': 2})}",
    }
    own_sections["segments"] = "segments:\n" + own_sections["segments"]
    head = (
        f"# Made by `{command}`. Every key, its default, unit and meaning: heml/params/; docs/own_data.md goes on"
        " from here."
    )
    text = (
        "\n\n".join([head, *(own_sections.get(name, section) for name, section in _sections(template).items())]) + "\n"
    )
    params = parse_params(text, "the proposal")
    return Proposal(text, params, Tree.from_params(params), assumed)


def _left_out(question: Question, without: list[str]) -> str:
    if question.classes:
        return (
            f"left out: {', '.join(without)}, which the label is read off; as a segment it would explain the label by"
            " itself"
        )
    return (
        f"left out: {', '.join(without)}, which is there just where {question.label!r} is of one value; as a segment it"
        " would explain the label by itself"
    )


def _defining(photos: Photos, table: Table | None, label: str) -> list[str]:
    """Parts whose presence is a label of two values."""
    if not table or len(values := list(table.values(label))) != 2:
        return []
    here = [k for k, image_id in enumerate(photos.looked) if table.rows.get(image_id, {}).get(label) in values]
    told = np.array([table.rows[photos.looked[k]][label] == values[0] for k in here])
    if len(here) < 20 or told.all() or not told.any():
        return []
    found = []
    for one in photos.parts:
        # within each value, so that a rare part does not agree by its absence
        sides = [float((one.there[here] == told)[told == value].mean()) for value in (True, False)]
        if min(sides) >= TOLD or max(sides) <= 1 - TOLD:
            found.append(one.name)
    return found


def _of_masks(photos: Photos, without: Sequence[str]) -> tuple[dict[str, str], Tree, tuple[str, str]]:
    """Lines of segments by name, the tree, and where both come from."""
    by_name = {one.name: one for one in photos.parts}
    covered = sorted((one.coverage for one in photos.parts), key=lambda c: (-c.present, c.name))
    found = dict(list(proposed_segments(covered, LEAST, without).items())[:MOST])
    places = {name: place for name, c in found.items() if (place := by_name[c.name].place)}
    if len(places) < 2:
        raise HemlError(
            f"{photos.root}: fewer than two parts are in {LEAST:.0%} of its masks and do not tell the label by"
            " themselves; a tree has two"
        )
    tree = grow(places, {name: found[name].area for name in places})
    lines = _in_order(_written(found), tree)
    rare = [c.name for c in covered if 0 < c.present < LEAST and c.name not in without]
    how = f"in at least {LEAST:.0%} of the masks" + (f"; rarer, and left out: {', '.join(rare)}" if rare else "")
    return lines, tree, (how, "left and right first, then what lies together in the masks")


def _of_model(model: Model, without: Sequence[str]) -> tuple[dict[str, str], Tree, tuple[str, str]]:
    if model.preset:
        kept = {name: s for name, s in model.segments.items() if not set(s.classes) & set(without)}
        kept = {name: s if s.mirror in kept else s.model_copy(update={"mirror": None}) for name, s in kept.items()}
        lines = {name: f"  {name}: {_flow(_as_written(segment))}" for name, segment in kept.items()}
        said = f"as in presets/{model.preset}.yaml"
    else:
        known = usual_places(model.classes)
        some = [c for c in model.classes if c in known or len(model.classes) <= MOST]
        covered = [Coverage(c, 1.0, usual_area([c]) or 0.02) for c in some or model.classes]
        found = dict(list(proposed_segments(covered, LEAST, without).items())[:MOST])
        lines = _written(found)
        said = "the classes of the SegFormer"
    if len(lines) < 2:
        raise HemlError(
            f"{model.name}: has fewer than two parts beside those that the label is read off; a tree has two"
        )
    tree, placed = join(list(lines), usual_places(list(lines)))
    grown = "left and right first, then " + ("what usually lies together" if placed else "in the order of their names")
    after = "; after `dvc repro segment`, `heml classes` counts what your photographs show"
    return _in_order(lines, tree), tree, (said + after, grown)


def _written(segments: dict[str, Coverage]) -> dict[str, str]:
    """Segment → its line."""
    return dict(zip(segments, list(segments_yaml(segments))[1:], strict=True))


def _in_order(lines: Mapping[str, str], tree: Tree) -> dict[str, str]:
    """As the tree has them, left to right, so that neighbours stand together."""
    return {name: lines[name] for name in tree.leaves(tree.root)}


def _as_written(segment: Segment) -> dict[str, Any]:
    return segment.model_dump(exclude_defaults=True)


def _section(name: str, values: Mapping[str, Any]) -> str:
    lines = [f"  {key}: {_flow(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"{name}:", *lines])


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True))
    return text.strip().removesuffix("\n...")


def _sections(text: str) -> dict[str, str]:
    """The sections of a parameter file as they are written."""
    parts = re.split(r"^(?=\w+:)", text, flags=re.MULTILINE)[1:]
    return {part.partition(":")[0]: part.rstrip() for part in parts}
