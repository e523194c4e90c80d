"""What can be said of every part without anybody's annotation: whether it is there, its colour, its shape; and the
table's columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from heml.errors import HemlError
from heml.images.canvas import Canvases
from heml.images.shards import extra_columns, read_description, read_rows
from heml.params import Bias
from heml.segments.manifest import Partition

RARE = 0.05
"""Share of the training images that show a part below which a group is joined with the other rare ones."""
FEWEST = 20
"""Training images below which nothing is grouped."""
_SAMPLE = 2000
"""Training images by which the number of groups is chosen."""
_TYPICAL = 4

Vector = NDArray[np.float64]

COLOURS = {
    "black": "#101010", "grey": "#808080", "white": "#f8f8f8", "red": "#d02020",
    "orange": "#f08020", "yellow": "#f0d030", "green": "#30a040", "turquoise": "#50c8c0",
    "blue": "#2858d0", "light blue": "#90c0f0", "purple": "#8040b0", "lilac": "#b8a0e8",
    "pink": "#f090b0", "brown": "#704020", "beige": "#f0d0a8", "dark red": "#701020",
    "dark blue": "#182860", "dark green": "#184820",
}  # fmt: skip
"""Names for what is nearest to them in CIELAB."""
SHAPES = (("small", "large"), ("tall", "wide"), ("sparse", "full"))
"""Words for low and high values of the three descriptors of shape."""


@dataclass(frozen=True)
class Attribute:
    """One thing that may be said of every image, N of them in stored order."""

    part: str
    """A segment, or a column of the table."""
    kind: str
    """`presence`, `colour`, `shape` or `column`."""
    groups: list[str]
    """What each group is called."""
    values: NDArray[np.int64]
    """(N,), the group; −1 where it cannot be said, since the image does not show the part."""
    typical: list[list[int]]
    """Rows of each group's most typical training images."""

    @property
    def name(self) -> str:
        """In words: `colour of the glasses`."""
        part = self.part.replace("_", " ")
        return part if self.kind == "column" else f"{self.kind} of {part}"


def attributes(
    canvases: Canvases, partitions: Mapping[str, Partition], images: str | Path, settings: Bias
) -> Iterator[Attribute]:
    """Of every segment in turn, then of the columns of the table.

    Args:
        images: `data/images`.

    Raises:
        HemlError: a column in the settings that the table has not.
    """
    for part, partition in partitions.items():
        yield from part_attributes(part, partition, canvases, settings.groups)
    yield from column_attributes(images, canvases.splits == "train", settings)


def part_attributes(part: str, partition: Partition, canvases: Canvases, most: int) -> Iterator[Attribute]:
    """Presence, colour and shape of a part, each where there are at least two groups of it.

    Groups are found in `train` without labels: k-means in 2 to `most` clusters, their number by the mean silhouette
    (Rousseeuw, 1987).
    """
    train, there = partition.splits == "train", partition.present
    if min((there & train).sum(), (~there & train).sum()) >= FEWEST:
        typical = [np.flatnonzero(train & (there == seen))[:_TYPICAL].tolist() for seen in (False, True)]
        yield Attribute(part, "presence", ["absent", "present"], there.astype(np.int64), typical)
    rows = np.flatnonzero(there)
    if train[rows].sum() < FEWEST:
        return
    masks = [partition.mask(row) for row in rows.tolist()]
    colours = np.stack([colour(canvases.pixels[row][mask]) for row, mask in zip(rows.tolist(), masks, strict=True)])
    shapes = np.stack([shape(mask) for mask in masks])
    spread = np.maximum(shapes[train[rows]].std(0), 1e-6)
    for kind, x in (("colour", colours), ("shape", (shapes - shapes[train[rows]].mean(0)) / spread)):
        clusters = cluster(x, train[rows], most)
        if clusters is not None:
            names = _unique([(_colour_name if kind == "colour" else _shape_name)(centre) for centre in clusters[1]])
            yield _grouped(part, kind, names, rows, x, *clusters, train)


def colour(pixels: NDArray[np.uint8]) -> Vector:
    """The median of (P, 3) pixels in CIELAB, (3,): a part's own colour, which edges and what lies over it do not
    move."""
    found: Vector = np.median(to_lab(pixels), axis=0)
    return found


def shape(mask: NDArray[np.bool_]) -> Vector:
    """Logarithms of area and of width over height, and the share of its box that a mask fills, (3,)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    area = mask.sum()
    return np.array([np.log(area), np.log(width / height), area / (width * height)])


def to_lab(pixels: NDArray[np.uint8]) -> Vector:
    """sRGB (…, 3) to CIELAB under D65 (IEC 61966-2-1, CIE 15): distances are about as large as differences look."""
    c = pixels / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def cluster(x: Vector, train: NDArray[np.bool_], most: int) -> tuple[NDArray[np.int64], Vector] | None:
    """Groups of (N, D) points, found among those of `train`: each point's, (N,), and the centres; None where all are
    alike."""
    known = x[train]
    if len(np.unique(known, axis=0)) < 2:
        return None
    sample = known[np.random.default_rng(0).permutation(len(known))[:_SAMPLE]]
    best, found = -2.0, None
    with threadpool_limits(1):  # the last bits depend on the number of threads
        for k in range(2, most + 1):
            if len(np.unique(sample, axis=0)) <= k:
                break
            model = KMeans(k, n_init=4, random_state=0).fit(sample)
            score = float(silhouette_score(sample, model.labels_))
            if score > best:
                best, found = score, model
        if found is None:
            return None
        values: NDArray[np.int64] = found.predict(x).astype(np.int64)
    return values, found.cluster_centers_


def _grouped(
    part: str,
    kind: str,
    names: list[str],
    rows: NDArray[np.int64],
    x: Vector,
    values: NDArray[np.int64],
    centres: Vector,
    train: NDArray[np.bool_],
) -> Attribute:
    """Clusters of some rows as an attribute of all; rare ones are joined as "other"."""
    known = train[rows]
    counts = np.bincount(values[known], minlength=len(names))
    order = [k for k in np.argsort(-counts, kind="stable").tolist() if counts[k] >= RARE * known.sum()]
    place = np.full(len(names), len(order))
    place[order] = np.arange(len(order))
    everywhere = np.full(len(train), -1)
    everywhere[rows] = place[values]
    groups = [names[k] for k in order] + ["other"] * (len(order) < len(names))
    apart = np.linalg.norm(x - centres[values], axis=1)
    typical = []
    for group in range(len(groups)):
        members = np.flatnonzero((place[values] == group) & known)
        typical.append(rows[members[np.argsort(apart[members], kind="stable")[:_TYPICAL]]].tolist())
    return Attribute(part, kind, groups, everywhere, typical)


def column_attributes(images: str | Path, train: NDArray[np.bool_], settings: Bias) -> Iterator[Attribute]:
    """The columns of the table that are neither id, split nor label: words as they are, numbers of many values in
    thirds.

    Raises:
        HemlError: a column of the settings that the table has not.
    """
    label = read_description(images).label
    there = [name for name in extra_columns(images) if name != label]
    for name in settings.columns or ():
        if name not in there:
            raise HemlError(f"bias.columns: {name!r} is no column of the data set; it has {', '.join(there) or 'none'}")
    wanted = there if settings.columns is None else settings.columns
    table: dict[str, list[str]] = {name: [] for name in wanted}
    for row in read_rows(images, wanted) if wanted else ():
        for name in wanted:
            table[name].append(row[name] or "")
    for name, words in table.items():
        words = _thirds(words, train) if len(set(words)) > settings.groups else words
        counts = Counter(word for word, seen in zip(words, train.tolist(), strict=True) if seen and word)
        common = [word for word, count in counts.most_common(settings.groups) if count >= RARE * sum(counts.values())]
        if len(common) < 2 and len(counts) < 2:
            continue
        if not common or sum(counts[word] for word in common) < sum(counts.values()) / 2:
            continue  # names, numbers of cameras' files: nothing that groups the images
        groups = common + ["other"] * (len(common) < len(counts))
        values = np.array([-1 if not word else common.index(word) if word in common else len(common) for word in words])
        typical = [np.flatnonzero(train & (values == k))[:_TYPICAL].tolist() for k in range(len(groups))]
        if len(groups) > 1:
            yield Attribute(name, "column", groups, values, typical)


def _thirds(words: list[str], train: NDArray[np.bool_]) -> list[str]:
    """Numbers by the thirds of those of `train`; anything else as it is."""
    try:
        numbers = np.array([float(word) if word else np.nan for word in words])
    except ValueError:
        return words
    known = numbers[train & ~np.isnan(numbers)]
    if not len(known):
        return words
    low, high = np.quantile(known, (1 / 3, 2 / 3))
    names = [f"up to {low:g}", f"{low:g} to {high:g}", f"above {high:g}"]
    return ["" if np.isnan(n) else names[int(n > low) + int(n > high)] for n in numbers.tolist()]


def _colour_name(centre: Vector) -> str:
    lab = np.stack(
        [to_lab(np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)) for code in COLOURS.values()]
    )
    return list(COLOURS)[int(np.linalg.norm(lab - centre, axis=1).argmin())]


def _shape_name(centre: Vector) -> str:
    """By what is oddest about it, in standard deviations of all."""
    k = int(np.abs(centre).argmax())
    return SHAPES[k][int(centre[k] > 0)]


def _unique(names: list[str]) -> list[str]:
    """Numbered where two are the same."""
    return [name if names.count(name) == 1 else f"{name} {names[: k + 1].count(name)}" for k, name in enumerate(names)]
