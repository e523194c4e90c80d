"""Which training images exchange a segment with which: recipes that break the tie between the segment and the label."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, kruskal

from heml.learning.recipes import KEPT, REMOVED, Recipes
from heml.params import Recompose
from heml.segments.manifest import Partition

TELLS = 0.01
"""p-value below which presence or size is taken to go with the label."""


def make_recipes(part: str, partitions: Mapping[str, Partition], settings: Recompose) -> Recipes:
    """Recipes for the training images.

    A donor's label is drawn first, evenly over all labels, then the donor: so its segment knows nothing of the base's
    label. Of `settings.candidates` that are drawn, the one whose segment, seen at the base's scale, is nearest to the
    base's in width and height.

    Its pixels are poured into the base's outline, so that no seam and no hole tells what was exchanged. That leaves
    size and presence as they were: where these go with the label in `train` (p < `TELLS`), the segment is laid over the
        base's as it is, centre on centre,
    or, where the base has none, as it lies among the donor's other segments; and if it is the presence that goes with
    the label, donors without the segment take it away, and bases without it are given one.
    """
    own = partitions[part]
    train = np.flatnonzero(own.splits == "train")
    frames = _frames([other for name, other in partitions.items() if name != part], own)
    rng = np.random.default_rng((settings.seed, *part.encode()))
    exchanged = (
        settings.presence if settings.presence is not None else settings.how != "pour" and _presence_tells(own, train)
    )
    poured = not exchanged and (settings.how or ("lay" if _size_tells(own, train) else "pour")) == "pour"
    givers = train if exchanged else train[own.present[train]]
    of_label = {label: givers[own.labels[givers] == label] for label in np.unique(own.labels[givers]).tolist()}
    donors = np.full((len(own.present), settings.draws), KEPT)
    boxes = np.zeros((*donors.shape, 4), np.int16)
    for base in givers.tolist():
        for draw in range(settings.draws):
            label = int(own.labels[base]) if settings.donors == "same" else int(rng.choice(list(of_label)))
            drawn = rng.choice(of_label[label], settings.candidates)
            drawn = drawn[own.present[drawn] == own.present[drawn[0]]]  # the first decides whether it is there
            if not own.present[drawn[0]]:
                donors[base, draw] = REMOVED
                continue
            laid = [own.boxes[base] if poured else _lay(base, int(donor), own, frames) for donor in drawn]
            fits = [_lay(base, int(donor), own, frames) for donor in drawn] if poured else laid
            best = int(np.argmin([_mismatch(box, own, base) for box in fits]))
            donors[base, draw], boxes[base, draw] = drawn[best], laid[best]
    return Recipes(donors, boxes, settings.rate, poured)


def _presence_tells(own: Partition, train: NDArray[np.int64]) -> bool:
    labels, there = own.labels[train], own.present[train]
    table = np.array(
        [[np.sum(there[labels == label] == seen) for label in np.unique(labels)] for seen in (False, True)]
    )
    if table.shape[1] < 2 or not table.sum(1).all():
        return False
    return bool(chi2_contingency(table).pvalue < TELLS)


def _size_tells(own: Partition, train: NDArray[np.int64]) -> bool:
    """Kruskal and Wallis's test of area and of width over height, by label."""
    rows = train[own.present[train]]
    sides = (own.boxes[rows, 2:] - own.boxes[rows, :2]).astype(float)
    of_label = [own.labels[rows] == label for label in np.unique(own.labels[rows])]
    for values in (own.area[rows], sides[:, 0] / sides[:, 1]):
        if (
            len(of_label) > 1
            and np.ptp(values) > 0
            and kruskal(*(values[members] for members in of_label)).pvalue < TELLS
        ):
            return True
    return False


def _frames(others: list[Partition], own: Partition) -> NDArray[np.float64]:
    """The box around all other segments of each image, (N, 4); where there are none, the canvas."""
    height, width = own.shape
    found = np.full((len(own.present), 4), np.nan)
    for other in others:
        boxes = np.where(other.present[:, None], other.boxes, np.nan)
        found = np.concatenate([np.fmin(found[:, :2], boxes[:, :2]), np.fmax(found[:, 2:], boxes[:, 2:])], 1)
    return np.where(np.isnan(found), np.array([0, 0, width, height], float), found)


def _lay(base: int, donor: int, own: Partition, frames: NDArray[np.float64]) -> NDArray[np.int16]:
    """The box on the base's canvas for the donor's segment, at the scale of the two images' frames."""
    (fx0, fy0, fx1, fy1), (gx0, gy0, gx1, gy1) = frames[base], frames[donor]
    x0, y0, x1, y1 = own.boxes[donor].astype(float)
    scale = np.clip(np.sqrt((fx1 - fx0) * (fy1 - fy0) / max((gx1 - gx0) * (gy1 - gy0), 1.0)), 0.5, 2.0)
    if own.present[base]:
        cx, cy = (own.boxes[base][:2] + own.boxes[base][2:]) / 2
    else:
        cx = fx0 + ((x0 + x1) / 2 - gx0) * (fx1 - fx0) / max(gx1 - gx0, 1.0)
        cy = fy0 + ((y0 + y1) / 2 - gy0) * (fy1 - fy0) / max(gy1 - gy0, 1.0)
    width, height = max(round((x1 - x0) * scale), 1), max(round((y1 - y0) * scale), 1)
    left, top = round(cx - width / 2), round(cy - height / 2)
    return np.array([left, top, left + width, top + height], np.int16)


def _mismatch(box: NDArray[np.int16], own: Partition, base: int) -> float:
    """How unlike two segments are in size: |log| of the ratios of width and height; of a base without one, nothing is
    known."""
    if not own.present[base]:
        return 0.0
    sides, theirs = box[2:] - box[:2], own.boxes[base][2:] - own.boxes[base][:2]
    return float(np.abs(np.log(sides / np.maximum(theirs, 1))).sum())
