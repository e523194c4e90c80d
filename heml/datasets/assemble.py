"""From a source of encoded images to records: labels by column or by rule, splits, a subset, and every image proven to
decode."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heml.datasets.splits import check_labels, split_by_label, stratified_split
from heml.errors import HemlError
from heml.images.decoding import BadImage, check_mask, decode_image, decode_mask, encode_png, orientation, turned
from heml.images.shards import SPLITS, Description, ImageRecord
from heml.images.void import VOID, void_ids
from heml.params import Limit, OwnImages, Rule
from heml.progress import progress

Areas = Callable[[Iterable[tuple[str, Image.Image]]], Iterator[tuple[str, float]]]
"""Images by id → by id, the fraction of each that the rule's classes cover, as a network sees it."""

Adapted = tuple[Iterator[ImageRecord], Description, list[str]]
"""Records in order of image_id (read lazily), description, names of the extra columns."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that may be used."""

    image_id: str
    splits: tuple[str, ...]
    """Where it may go: one split, or several to be drawn from."""
    label: str | None
    """The label's value; None: a rule says."""


@dataclass(frozen=True)
class RawImage:
    """Bytes as they lie at the source."""

    image_id: str
    name: str
    """Of the image file."""
    image: bytes
    mask: bytes | None
    extra: dict[str, str] = field(default_factory=dict)
    """The extra columns."""
    fault: str = ""
    """Why there are no bytes."""
    source: str = ""
    """What messages call the image."""
    mask_source: str = ""


class Source(Protocol):
    """Where encoded images come from."""

    name: str
    where: str
    """What messages about labels name."""
    candidates: list[Candidate]
    """In order of image_id."""
    classes: dict[str, int]
    label_names: list[str]
    """The label's values in order; empty: as found."""
    extra: list[str]
    notes: list[str]
    """What of the source is not used, in sentences."""

    def read(self, chosen: Container[str]) -> Iterator[RawImage]:
        """The chosen candidates' bytes, in order of image_id."""


def assemble(source: Source, params: OwnImages, areas: Areas | None = None) -> Adapted:
    """Records, description and extra columns of a source.

    Args:
        areas: the network that a rule with a `model` asks.

    Raises:
        HemlError: on anything that would make the data set ambiguous or unusable; bad images as `on_bad_image` says.
    """
    skipped: list[dict[str, str]] = []  # grows while the records are read, and is written after them
    void = void_ids(source.classes)
    classes = {name: number for name, number in source.classes.items() if number not in void}
    usable = _Usable(params.on_bad_image == "skip", params.max_megapixels, source.classes, void, params.masks, skipped)
    if params.rule:
        names = [f"no {params.label}", params.label]
        values = _by_rule(source, params.rule, classes, usable, areas, _worth_asking(source.candidates, params))
    else:
        found = {c.image_id: c.label or "" for c in source.candidates}
        there = set(found.values())
        names = [n for n in source.label_names if n in there] or _in_order(there)
        number = {name: i for i, name in enumerate(names)}
        values = {image_id: number[label] for image_id, label in found.items()}
    alone = [names[v] for v, n in sorted(Counter(values.values()).items()) if n == 1]
    by_label = params.split_by == "label"
    if alone and len(names) > 1 and not by_label:
        raise HemlError(
            f"{source.where}: class {alone[0]!r} of {params.label!r} has one image; a metric needs at least two"
        )
    # Labels and splits are decided before an image is decoded, so that images are read once, and only those drawn.
    splits = _draw(source.candidates, values, params.split.model_dump(), params.seed, by_label)
    limited = params.subset != Limit()
    if limited:
        splits = (_limited_by_label if by_label else _limited)(splits, values, params.subset, params.seed)
    try:
        check_labels(params.label, names, [(split, values[i]) for i, split in splits.items()], by_label)
    except HemlError as error:
        if limited:
            raise HemlError(
                f"{error}. This counts what dataset.limit drew, from as few files as hold it; raise or drop the limit"
            ) from None
        raise

    def records() -> Iterator[ImageRecord]:
        kept: list[tuple[str, int]] = []
        for raw in progress(source.read(splits), "images", len(splits), "image"):
            if decoded := usable.decoded(raw):
                split, label = splits[raw.image_id], values[raw.image_id]
                kept.append((split, label))
                yield ImageRecord(raw.image_id, split, label, raw.image, raw.name, decoded[1], raw.extra)
        if skipped:  # a class may have lost its last image
            check_labels(params.label, names, kept, by_label)

    drawn = any(len(c.splits) > 1 for c in source.candidates)
    shares = ", ".join(f"{split} {share:g}" for split, share in params.split.model_dump().items())
    origin = (
        f"splits: drawn here ({shares}; dataset.split, dataset.seed)"
        if drawn
        else f"splits: as {source.where} has them"
    )
    return (
        records(),
        Description(source.name, params.label, names, classes, skipped, notes=[origin, *source.notes]),
        source.extra,
    )


@dataclass(frozen=True)
class _Usable:
    """Decodes images, and ends the run or keeps a list where one cannot be."""

    skip: bool
    max_megapixels: float
    classes: dict[str, int]
    void: set[int]
    """Ids that stand for no class."""
    masks: str | None
    """How masks lie over images that EXIF turns."""
    skipped: list[dict[str, str]]

    def decoded(self, raw: RawImage) -> tuple[Image.Image, bytes | None] | None:
        """The image, upright, and its mask's bytes; None where it or its mask is bad and is to be skipped."""
        try:
            if raw.fault:
                raise BadImage(raw.fault)
            image = decode_image(raw.image, raw.source, self.max_megapixels)
            if raw.mask is None:
                return image, None
            written = decode_mask(raw.mask, raw.mask_source, self.max_megapixels)
            mask = self._upright(raw, written)
            check_mask(mask, image.size, self.classes, raw.mask_source)
            return image, self._kept(raw.mask, written, mask)
        except BadImage as error:
            self._leave_out(raw, error)
            return None

    def _upright(self, raw: RawImage, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The ids of a mask, as it lies over the image that is seen."""
        how = orientation(raw.image)
        if how == 1:
            return mask
        if self.masks is None:
            raise HemlError(
                f"{raw.source}: is turned by EXIF (orientation {how}) and has a mask. Say how masks lie: dataset.masks:"
                " upright, if over the image as it is shown, or stored, if over the pixels as they are stored"
            )
        return turned(mask, how) if self.masks == "stored" else mask

    def _kept(self, data: bytes, written: NDArray[np.uint8], mask: NDArray[np.uint8]) -> bytes:
        """A mask as it is stored: as it came, if that is a PNG of these ids, else a new one, with 255 for every pixel
        without a class."""
        known = np.where(np.isin(mask, list(self.void)), VOID, mask).astype(np.uint8)
        as_it_is = data.startswith(b"\x89PNG") and data[24] in (1, 8) and np.array_equal(written, known)
        return data if as_it_is else encode_png(known)

    def mask_area(self, raw: RawImage, ids: list[int]) -> float | None:
        """The fraction of the mask's pixels whose class is in `ids`; None where the mask is bad and is to be
        skipped."""
        try:
            if raw.fault or raw.mask is None:
                raise BadImage(
                    raw.fault
                    or f"{raw.source}: has no mask for dataset.rule to read; add it, or name a `model` in the rule"
                )
            return float(
                np.isin(self._upright(raw, decode_mask(raw.mask, raw.mask_source, self.max_megapixels)), ids).mean()
            )
        except BadImage as error:
            self._leave_out(raw, error)
            return None

    def _leave_out(self, raw: RawImage, error: BadImage) -> None:
        if not self.skip:
            raise HemlError(f"{error}. Repair or remove it, or set dataset.on_bad_image: skip") from None
        self.skipped.append({"image_id": raw.image_id, "reason": str(error)})


def rows_needed(splits: Sequence[str], params: OwnImages) -> int | None:
    """How many images, divided among `splits`, hold the wanted number of each; None: all."""
    limits: dict[str, int | None] = params.subset.model_dump()
    fractions: dict[str, float] = params.split.model_dump()
    total = sum(fractions[split] for split in splits)
    rows = [math.ceil(n * total / fractions[split]) for split in splits if (n := limits[split]) is not None]
    return max(rows) if len(rows) == len(splits) else None


def _worth_asking(candidates: list[Candidate], params: OwnImages) -> set[str]:
    """The images whose label is to be read: of a subset not many more than it has, since a network may be slow."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for c in candidates:
        groups[c.splits].append(c.image_id)
    chosen: set[str] = set()
    for splits, members in groups.items():
        needed = rows_needed(splits, params)
        spare = 2 * len(splits)  # splits are rounded for each of the two labels
        if needed is not None and needed + spare < len(members):
            drawn = np.random.default_rng(params.seed).choice(len(members), needed + spare, replace=False)
            members = [members[k] for k in drawn]
        chosen.update(members)
    return chosen


def _by_rule(
    source: Source, rule: Rule, classes: dict[str, int], usable: _Usable, areas: Areas | None, asked: set[str]
) -> dict[str, int]:
    """image_id → whether the rule's classes cover enough of the image; without images that are left out."""
    everything = progress(source.read(asked), "labels", len(asked), "image")
    covered: Iterator[tuple[str, float]]
    if areas is not None:
        covered = areas((raw.image_id, found[0]) for raw in everything if (found := usable.decoded(raw)))
    else:
        if not classes:
            raise HemlError(
                f"dataset.rule: {source.name} has no masks to read; name a SegFormer (`model` and `revision`) in the"
                " rule"
            )
        unknown = [c for c in rule.classes if c not in classes]
        if unknown:
            raise HemlError(f"dataset.rule.classes: unknown {', '.join(unknown)}; the masks have {', '.join(classes)}")
        ids = [classes[c] for c in rule.classes]
        covered = ((raw.image_id, area) for raw in everything if (area := usable.mask_area(raw, ids)) is not None)
    shares = dict(covered)
    values = {image_id: int(area >= rule.area) for image_id, area in shares.items()}
    if len(set(values.values())) == 1:
        who = "every image has" if any(values.values()) else "no image has"
        low, middle, high = np.quantile(list(shares.values()), (0, 0.5, 1))
        raise HemlError(
            f"dataset.rule: {who} {' or '.join(rule.classes)} on {rule.area:g} of its pixels (least {low:.3g}, median"
            f" {middle:.3g}, most {high:.3g}); choose another area"
        )
    return values


def _draw(
    candidates: list[Candidate], values: dict[str, int], fractions: dict[str, float], seed: int, by_label: bool
) -> dict[str, str]:
    """image_id → split, in order of image_id."""
    groups: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for c in candidates:
        if c.image_id in values:
            groups[c.splits][c.image_id] = values[c.image_id]
    drawn: dict[str, str] = {}
    for splits, members in groups.items():
        drawn |= (split_by_label if by_label and len(splits) > 1 else stratified_split)(
            members, {s: fractions[s] for s in SPLITS if s in splits}, seed
        )
    return {c.image_id: drawn[c.image_id] for c in candidates if c.image_id in drawn}


def _limited(splits: dict[str, str], values: dict[str, int], limit: Limit, seed: int) -> dict[str, str]:
    """At most so many images of each split, drawn by seed; each label keeps its share."""
    chosen: set[str] = set()
    for number, split in enumerate(SPLITS):
        groups = _by_value(split, splits, values)
        total, most = sum(map(len, groups.values())), getattr(limit, split)
        shares = {value: len(members) * min(most or total, total) / total for value, members in groups.items()}
        counts = {value: int(share) for value, share in shares.items()}
        for value in sorted(shares, key=lambda v: (counts[v] - shares[v], v))[
            : round(sum(shares.values())) - sum(counts.values())
        ]:
            counts[value] += 1  # what rounding down left goes to the largest remainders
        rng = np.random.default_rng((seed, number))
        for value in sorted(groups):
            members = groups[value]
            chosen.update(members[k] for k in rng.choice(len(members), counts[value], replace=False))
    return {i: s for i, s in splits.items() if i in chosen}


def _limited_by_label(splits: dict[str, str], values: dict[str, int], limit: Limit, seed: int) -> dict[str, str]:
    """At most so many images of each split: labels drawn by seed, whole but for the last, since an image alone has
    nobody to find."""
    chosen: set[str] = set()
    for number, split in enumerate(SPLITS):
        groups = _by_value(split, splits, values)
        order = np.random.default_rng((seed, number)).permutation(sorted(groups))
        drawn = [image_id for value in order.tolist() for image_id in groups[value]]
        chosen.update(drawn[: getattr(limit, split)])
    return {i: s for i, s in splits.items() if i in chosen}


def _by_value(split: str, splits: dict[str, str], values: dict[str, int]) -> dict[int, list[str]]:
    """Label value → the split's images that have it."""
    groups: dict[int, list[str]] = defaultdict(list)
    for image_id, own in splits.items():
        if own == split:
            groups[values[image_id]].append(image_id)
    return groups


def _in_order(values: set[str]) -> list[str]:
    """Distinct values in order: numbers by size, words by alphabet."""
    try:
        return sorted(values, key=lambda v: (float(v), v))
    except ValueError:
        return sorted(values)
