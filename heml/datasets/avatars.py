"""Illustrated people with exact part masks and a label from known probability tables (DiceBear's avataaars, drawn by
resvg)."""

from __future__ import annotations

import copy
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from heml.datasets.adapters import Adapter
from heml.datasets.assemble import Adapted, Areas
from heml.datasets.splits import check_labels, split_by_label, stratified_split
from heml.datasets.yaml_file import read_yaml
from heml.errors import HemlError
from heml.images.decoding import encode_png
from heml.images.shards import Description, ImageRecord
from heml.lifetime import end_with
from heml.machine import cores
from heml.params import AvatarsDataset
from heml.progress import progress

if TYPE_CHECKING:  # the drawing libraries are for those who draw
    from dicebear import Style

PARTS = {
    "skin": "skin",
    "clothes": "clothes",
    "mouth": "mouth",
    "eyes": "eyes",
    "brows": "eyebrows",
    "hair": "top",
    "facial_hair": "facialHair",
    "glasses": "accessories",
}
"""Our part → the component of the drawing style; `skin` is its body. Mask ids are 1 + the position here."""

CLASSES = {"background": 0} | {part: i + 1 for i, part in enumerate(PARTS)}

_COLOUR_OF = {
    "mouth": "mouth",
    "eyes": "eyes",
    "brows": "brows",
    "hair": "hair",
    "facial_hair": "facialHair",
    "glasses": "accessories",
}
_OUTLINE = {"brows": "10", "glasses": "7", "eyes": "3"}
"""Stroke widths that make thin parts visible in a small image."""

_ENLARGE = {
    "eyes": "translate(86.5 89) scale(1.27)",
    "mouth": "translate(82.5 138) scale(1.25)",
    "eyebrows": "translate(87 63) scale(1.1)",
    "accessories": "translate(68 38) scale(1.12)",
}
"""Where small components stand, larger than in the original for the same reason."""

Probability = Annotated[float, Field(ge=0, le=1)]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class PartTable(BaseModel):
    """How one part looks: how often it is there, its drawings, and its colours' probability given each label."""

    model_config = ConfigDict(extra="forbid")
    present: Probability = 1.0
    shapes: list[str] = Field(default_factory=list)
    colours: dict[Colour, tuple[Probability, Probability]] = Field(min_length=2)

    @model_validator(mode="after")
    def _sum_to_one(self) -> PartTable:
        for label in (0, 1):
            total = sum(p[label] for p in self.colours.values())
            if abs(total - 1) > 1e-6:
                raise ValueError(f"the colours' probabilities given persona {label} sum to {total:g}, not 1")
        return self


class Tables(BaseModel):
    """The file behind the avatars; see `data/avatars.yaml`."""

    model_config = ConfigDict(extra="forbid")
    style: str = Field(pattern="^avataaars$")
    prior: float = Field(0.5, gt=0, lt=1)
    biased: str | list[str]
    """The part, or parts, whose colours `dataset.bias` ties to the label in `train`."""
    parts: dict[str, PartTable]

    @model_validator(mode="after")
    def _known_parts(self) -> Tables:
        for part in (*self.parts, *self.tied):
            if part not in PARTS or part not in self.parts:
                raise ValueError(f"part {part!r} is unknown or has no table; parts are {', '.join(PARTS)}")
        missing = [part for part in PARTS if part not in self.parts]
        if missing:
            raise ValueError(f"no table for {', '.join(missing)}")
        variants = _definition()["components"]
        for part, table in self.parts.items():
            known = list(variants[PARTS[part]]["variants"]) if part != "skin" else []
            unknown = [shape for shape in table.shapes if shape not in known]
            if unknown or (known and not table.shapes):
                raise ValueError(f"parts.{part}.shapes: {unknown or 'none given'}; known are {', '.join(known)}")
        return self

    @property
    def tied(self) -> list[str]:
        """The biased parts."""
        return [self.biased] if isinstance(self.biased, str) else self.biased

    def evidence(self) -> dict[str, list[list[float]]]:
        """Per part, the joint probabilities of its looks with the label in held-out images, the last look "absent"."""
        prior = (1 - self.prior, self.prior)
        result = {}
        for part, table in self.parts.items():
            looks = [[table.present * p[y] * prior[y] for y in (0, 1)] for p in table.colours.values()]
            result[part] = [*looks, [(1 - table.present) * prior[y] for y in (0, 1)]]
        return result


def load_tables(path: str | Path) -> Tables:
    """Read and check the probability tables.

    Raises:
        HemlError: missing, not YAML, an unknown part or drawing, probabilities that do not sum to 1.
    """
    return read_yaml(Tables, path, "the avatars' probability tables")


@dataclass(frozen=True)
class Look:
    """What one avatar is: its label, and a drawing and a colour per part (None: absent)."""

    label: int
    shapes: dict[str, str]
    colours: dict[str, str | None]


def sample_look(tables: Tables, rng: np.random.Generator, bias: float = 0.5) -> Look:
    """Draw one avatar's looks. `bias` is the chance that a biased part's colour is of its label's half; 0.5 is none."""
    label = int(rng.random() < tables.prior)
    weights = {part: np.array([p[label] for p in table.colours.values()]) for part, table in tables.parts.items()}
    for part in tables.tied if bias != 0.5 else ():
        count = len(weights[part])
        half = (np.arange(count) >= count // 2) == bool(label)
        weights[part] = np.where(half, bias, 1 - bias)
    return Look(label, *_sample_parts(tables, weights, rng))


def _sample_parts(
    tables: Tables, weights: Mapping[str, NDArray[np.float64]], rng: np.random.Generator
) -> tuple[dict[str, str], dict[str, str | None]]:
    """A drawing and a colour (None: absent) of every part, each drawn by itself.

    Args:
        weights: of each part, its colours' probabilities up to a factor.
    """
    shapes: dict[str, str] = {}
    colours: dict[str, str | None] = {}
    for part, table in tables.parts.items():
        names = list(table.colours)
        present = rng.random() < table.present
        colour = names[rng.choice(len(names), p=weights[part] / weights[part].sum())]
        shapes[part] = table.shapes[rng.integers(len(table.shapes))] if table.shapes else ""
        colours[part] = colour if present else None
    return shapes, colours


_VARIED = ("mouth", "eyes", "brows")
"""Of an identity, parts whose drawing changes from image to image, an expression; their colour stays."""
_WORN = ("clothes", "glasses")
"""Parts that are not of the identity at all."""


def sample_identities(tables: Tables, count: int, seed: int) -> list[Look]:
    """So many identities, no two alike in what stays of them: looks whose label is the identity's number.

    Parts are independent, with their colours' frequencies over both personas: given one, they would all be of the same
    few.
    """
    prior = (1 - tables.prior, tables.prior)
    weights = {
        part: np.array([np.dot(prior, p) for p in table.colours.values()]) for part, table in tables.parts.items()
    }
    found: list[Look] = []
    known: set[tuple[tuple[str, str | None], ...]] = set()
    for attempt in range(1000 * count):
        look = Look(len(found), *_sample_parts(tables, weights, np.random.default_rng((seed, attempt, 2))))
        if (own := tuple(fixed_look(look).values())) not in known:
            known.add(own)
            found.append(look)
            if len(found) == count:
                return found
    raise HemlError(
        f"dataset.personas: {count} are more identities than dataset.path has different looks for ({len(found)} found)"
    )


def fixed_look(identity: Look) -> dict[str, tuple[str, str | None]]:
    """What stays of an identity in every image: part → (drawing, where that stays; colour, None where it is absent)."""
    return {
        part: ("" if part in _VARIED or colour is None else identity.shapes[part], colour)
        for part, colour in identity.colours.items()
        if part not in _WORN
    }


def vary(tables: Tables, identity: Look, rng: np.random.Generator) -> Look:
    """An identity as one image shows it: with another expression, other clothes, and glasses or none."""
    other = sample_look(tables, rng)
    shapes = identity.shapes | {part: other.shapes[part] for part in (*_VARIED, *_WORN)}
    return Look(identity.label, shapes, identity.colours | {part: other.colours[part] for part in _WORN})


@lru_cache(maxsize=1)
def _definition() -> dict[str, Any]:
    text = files("dicebear_styles").joinpath("avataaars.json").read_text("utf-8")
    definition: dict[str, Any] = json.loads(text)
    return definition


def _repaint(part: str, element: dict[str, Any], flat: str | None) -> dict[str, Any] | None:
    """Give an element of a part its part's colour: `flat` for the mask, the part's named colour for the picture.

    What is drawn black or in a colour of its own takes the part's colour; white (teeth, eyeballs) stays white. Faint
    black is shade: it stays in the picture, and in the mask it belongs to whatever it falls on.
    """
    element = copy.deepcopy(element)
    attributes = element.setdefault("attributes", {})
    if "children" in element:
        element["children"] = [c for child in element["children"] if (c := _repaint(part, child, flat))]
    fill = attributes.get("fill")
    if fill is None or fill == "none":
        return element
    shade = fill in ("black", "white") and float(attributes.get("fill-opacity", 1)) <= 0.3
    if shade:
        return element if flat is None else None
    coloured = isinstance(fill, dict) or (
        part in _COLOUR_OF and (fill == "black" or (part == "eyes" and fill.startswith("#")))
    )
    paint = flat or ({"type": "color", "name": _COLOUR_OF.get(part, part)} if coloured else fill)
    attributes["fill"] = paint
    if flat or coloured:
        attributes.pop("fill-opacity", None)
    if coloured and part in _OUTLINE:
        attributes |= {"stroke": paint, "stroke-width": _OUTLINE[part]}
    return element


def _flat(part: str) -> str:
    return f"#{CLASSES[part] * 20:02x}0000"


@lru_cache(maxsize=2)
def _style(masks: bool) -> Style:
    """The drawing style with every part in one named colour, or in its mask's flat colour."""
    from dicebear import Style

    definition = copy.deepcopy(_definition())
    for part, component in PARTS.items():
        if part == "skin":
            continue
        for variant in definition["components"][component]["variants"].values():
            flat = _flat(part) if masks else None
            variant["elements"] = [e for el in variant["elements"] if (e := _repaint(part, el, flat))]
    for element in definition["canvas"]["elements"]:
        if element["name"] in _ENLARGE:
            element["attributes"]["transform"] = _ENLARGE[element["name"]]
    for name in ("mouth", "eyes", "brows"):
        definition["colors"][name] = {"values": ["#000000"]}
    if masks:
        skin = _flat("skin")
        for variant in definition["components"]["nose"]["variants"].values():
            variant["elements"] = []
        definition["colors"]["skin"] = {"values": [skin]}
        definition["canvas"]["elements"] = [
            e for e in definition["canvas"]["elements"] if e.get("attributes", {}).get("fill") != "black"
        ]
    return Style(definition)


def _svg(look: Look, masks: bool, view: str, turn: float) -> str:
    from dicebear import Avatar

    options: dict[str, Any] = {
        "seed": "heml",
        "accessoriesProbability": 0 if look.colours["glasses"] is None else 100,
        "facialHairProbability": 0 if look.colours["facial_hair"] is None else 100,
    }
    for part, component in PARTS.items():
        if part != "skin":
            options[f"{component}Variant"] = [look.shapes[part]]
        colour = look.colours[part]
        if colour is not None:
            options[f"{_COLOUR_OF.get(part, part)}Color"] = [_flat(part) if masks else colour]
    svg = Avatar(_style(masks), options).to_string()
    svg = re.sub(r"<metadata.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace('viewBox="0 0 280 280"', f'viewBox="{view}"', 1)
    body = re.sub(r'<g clip-path="[^"]*">', f'<g transform="rotate({turn:.3f} 140 150)">', svg, count=1)
    return body.replace('shape-rendering="auto"', 'shape-rendering="crispEdges"', 1) if masks else body


def _raster(svg: str, size: int) -> NDArray[np.uint8]:
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))


def _background(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A gradient between two colours, crossed by a few discs or bars: (size, size, 3) in [0, 255]."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.clip((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5, 0, 1)[..., None]
    ends = rng.uniform(40, 255, (2, 3))
    image = ends[0] * (1 - ramp) + ends[1] * ramp
    for _ in range(rng.integers(0, 6)):
        cx, cy, r = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.04, 0.25)
        inside = (x - cx) ** 2 + (y - cy) ** 2 < r * r if rng.random() < 0.5 else np.abs(x - cx) < r / 3
        image[inside] = image[inside] * 0.4 + rng.uniform(0, 255, 3) * 0.6
    return np.asarray(image, dtype=np.float32)


def render(look: Look, size: int, rng: np.random.Generator) -> tuple[bytes, NDArray[np.uint8]]:
    """Draw one avatar in a random pose, scale, light and background.

    Returns:
        JPEG bytes of a `size`×`size` image, and its exact mask, (size, size) uint8 class ids (see `CLASSES`).
    """
    width = rng.uniform(158, 186)
    left, top = 140 - width / 2 + rng.uniform(-10, 10), 132 - width / 2 + rng.uniform(-8, 8)
    view, turn = f"{left:.2f} {top:.2f} {width:.2f} {width:.2f}", rng.uniform(-10, 10)
    drawn = _raster(_svg(look, False, view, turn), size).astype(np.float32)
    flat = _raster(_svg(look, True, view, turn), size)
    mask = np.where(flat[..., 3] > 127, np.rint(flat[..., 0] / 20), 0).astype(np.uint8)

    alpha = drawn[..., 3:] / 255
    image = drawn[..., :3] * alpha + _background(rng, size) * (1 - alpha)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.25) * (x * np.cos(angle) + y * np.sin(angle)) * 2
    image = image * light[..., None] * rng.uniform(0.8, 1.12) * rng.uniform(0.95, 1.05, 3)
    image = image + rng.normal(0, rng.uniform(1, 5), image.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=int(rng.integers(78, 96)))
    return buffer.getvalue(), mask


def _draw(task: tuple[Tables, int, int, float, int, Look | None]) -> tuple[int, bytes, bytes]:
    tables, seed, index, bias, size, identity = task
    rng = np.random.default_rng((seed, index, 0))
    look = vary(tables, identity, rng) if identity else sample_look(tables, rng, bias)
    jpeg, mask = render(look, size, np.random.default_rng((seed, index, 1)))
    return look.label, jpeg, encode_png(mask)


def avatars(params: AvatarsDataset, workers: int | None = None) -> tuple[Iterator[ImageRecord], Description]:
    """The avatars data set. Image i depends on (seed, i) alone, so more images leave the first ones as they are.

    Returns:
        Records in order of image_id, and the description, with the evidence behind every Bayes limit.
    """
    tables = load_tables(params.path)
    ids = [f"avatar_{i:06d}" for i in range(params.images)]
    people = sample_identities(tables, params.personas, params.seed) if params.personas else []
    if people:
        labels = {ids[i]: i % len(people) for i in range(params.images)}
    else:  # the label is the first draw, so it is the same whatever the bias
        labels = {
            ids[i]: sample_look(tables, np.random.default_rng((params.seed, i, 0))).label for i in range(params.images)
        }
    assign = split_by_label if params.split_by == "label" else stratified_split
    splits = assign(labels, params.split.model_dump(), params.seed)
    names = [f"persona_{k:0{len(str(len(people) - 1))}d}" for k in range(len(people))] or ["persona_0", "persona_1"]
    if people:
        check_labels(
            params.label, names, [(splits[i], label) for i, label in labels.items()], params.split_by == "label"
        )

    def records() -> Iterator[ImageRecord]:
        tasks = [
            (
                tables,
                params.seed,
                i,
                params.bias if splits[ids[i]] == "train" else 0.5,
                params.size,
                people[i % len(people)] if people else None,
            )
            for i in range(params.images)
        ]
        with ProcessPoolExecutor(workers or cores(), initializer=end_with, initargs=([os.getpid()],)) as pool:
            drawn = pool.map(_draw, tasks, chunksize=16)
            for image_id, (label, jpeg, mask) in zip(ids, progress(drawn, "avatars", len(ids), "image"), strict=True):
                yield ImageRecord(image_id, splits[image_id], label, jpeg, f"{image_id}.jpg", mask)

    description = Description(
        name="avatars",
        label=params.label,
        label_names=names,
        classes=CLASSES,
        evidence={} if people else tables.evidence(),
        looks=_looks(people),
    )
    return records(), description


def _looks(people: list[Look]) -> dict[str, list[int]]:
    """Of every part that an identity keeps, the number of its look by identity, −1 where it is absent."""
    found: dict[str, list[int]] = {}
    for part in fixed_look(people[0]) if people else ():
        looks = [fixed_look(person)[part] for person in people]
        number = {look: k for k, look in enumerate(dict.fromkeys(looks))}
        found[part] = [-1 if look[1] is None else number[look] for look in looks]
    return found


class AvatarsAdapter(Adapter[AvatarsDataset]):
    """Probability tables, by which people are drawn."""

    def open(self, areas: Areas | None = None) -> Adapted:
        return *avatars(self.params), []

    def licence(self) -> list[str]:
        """What the drawing style says of itself."""
        licence = _definition()["meta"]["license"]
        return [f"Drawings: {licence['text']}", "Labels, colours and backgrounds: this project's own."]

    def told(self, project: Path) -> tuple[str, list[str]]:
        images, personas = self.params.images, self.params.personas
        people = f"{images} images of {personas}" if personas else f"{images}"
        return f"{people} illustrated people, drawn on the spot", []


ADAPTER = AvatarsAdapter
