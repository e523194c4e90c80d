"""Parts by the many names that data sets and networks have for them, and where they usually are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SIDE = re.compile(r"^(l|r|left|right)_(?=.{3})")
_SAME = {
    "cloth": "clothes",
    "clothing": "clothes",
    "ear_r": "earring",
    "eye_g": "glasses",
    "eyebrow": "brow",
    "eyeglass": "glasses",
    "coat": "outerwear",
    "jacket": "outerwear",
    "jean": "trousers",
    "jewellery": "jewellery",
    "beard": "facial_hair",
    "l_lip": "lower_lip",
    "moustache": "facial_hair",
    "mustache": "facial_hair",
    "neck_l": "necklace",
    "pant": "trousers",
    "shirt": "top",
    "spectacle": "glasses",
    "stocking": "legwear",
    "sunglass": "glasses",
    "sunglasse": "glasses",
    "eyeglasse": "glasses",
    "glasse": "glasses",
    "glass": "glasses",
    "trouser": "trousers",
    "clothe": "clothes",
    "u_lip": "upper_lip",
    "upper_clothe": "top",
    "upper_cloth": "top",
}


def plain(name: str) -> str:
    """A name in small letters, digits and underscores."""
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")


def side(name: str) -> str:
    """`l`, `r`, or nothing where a part has no side."""
    found = None if plain(name) in _SAME else _SIDE.match(plain(name))
    return found[1][0] if found else ""


def part(name: str) -> str:
    """What a class or a word means, in one word for all of its names, without its side.

    >>> [part(name) for name in ("eye_g", "Sunglasses", "Left-shoe", "eyes")]
    ['glasses', 'glasses', 'shoe', 'eye']
    """
    word = plain(name)
    if word not in _SAME:
        word = _SIDE.sub("", word)
    single = word if word in _SAME or not word.endswith("s") or word.endswith("ss") else word[:-1]
    return _SAME.get(single, single)


def meaning(word: str, classes: Iterable[str]) -> list[str]:
    """The classes that a word means, such as both eyes for `eyes`; empty where it means none."""
    classes = list(classes)
    found = [c for c in classes if c == word] or [c for c in classes if part(c) == part(word)]
    return found or [c for c in classes if part(c).endswith(f"_{part(word)}")]


@dataclass(frozen=True)
class Place:
    """Where a part is, in units of the image's longer side, from its top left: centre and standard deviation of its
    pixels."""

    x: float
    y: float
    dx: float
    dy: float

    @classmethod
    def of_box(cls, x: float, y: float, width: float, height: float) -> Place:
        """Of a filled box around a centre."""
        return cls(x, y, width / 12**0.5, height / 12**0.5)


# Of a cropped portrait: centre x, y, width, height of the right one of two; and the regions that it is in, small first.
_FACE = {
    "hat": (0.5, 0.12, 0.7, 0.25, "headwear head portrait"),
    "hair": (0.5, 0.28, 0.75, 0.5, "headwear head portrait"),
    "brow": (0.63, 0.4, 0.16, 0.04, "brows gaze face head portrait"),
    "eye": (0.62, 0.46, 0.12, 0.05, "eyes gaze face head portrait"),
    "glasses": (0.5, 0.46, 0.42, 0.14, "gaze face head portrait"),
    "ear": (0.77, 0.52, 0.07, 0.15, "ears sides head portrait"),
    "earring": (0.5, 0.62, 0.6, 0.08, "sides head portrait"),
    "nose": (0.5, 0.56, 0.14, 0.2, "middle_face face head portrait"),
    "skin": (0.5, 0.55, 0.5, 0.6, "face head portrait"),
    "face": (0.5, 0.55, 0.5, 0.6, "face head portrait"),
    "upper_lip": (0.5, 0.68, 0.18, 0.04, "lips jaw face head portrait"),
    "mouth": (0.5, 0.7, 0.16, 0.05, "jaw face head portrait"),
    "lower_lip": (0.5, 0.72, 0.18, 0.05, "lips jaw face head portrait"),
    "facial_hair": (0.5, 0.75, 0.35, 0.2, "jaw face head portrait"),
    "neck": (0.5, 0.87, 0.3, 0.2, "bust portrait"),
    "necklace": (0.5, 0.92, 0.3, 0.1, "bust portrait"),
    "clothes": (0.5, 0.95, 0.8, 0.12, "bust portrait"),
}
_BODY = {  # of a person from head to feet
    "hat": (0.5, 0.05, 0.12, 0.05, "headwear head upper_body person"),
    "hair": (0.5, 0.08, 0.12, 0.09, "headwear head upper_body person"),
    "glasses": (0.5, 0.1, 0.08, 0.02, "visage head upper_body person"),
    "face": (0.5, 0.11, 0.09, 0.1, "visage head upper_body person"),
    "skin": (0.5, 0.3, 0.25, 0.4, "upper_body person"),
    "scarf": (0.5, 0.2, 0.14, 0.08, "torso upper_body person"),
    "jewellery": (0.5, 0.2, 0.1, 0.05, "torso upper_body person"),
    "top": (0.5, 0.32, 0.26, 0.22, "torso upper_body person"),
    "outerwear": (0.5, 0.36, 0.3, 0.3, "torso upper_body person"),
    "arm": (0.64, 0.38, 0.07, 0.24, "arms torso upper_body person"),
    "dress": (0.5, 0.45, 0.28, 0.42, "torso person"),
    "belt": (0.5, 0.46, 0.16, 0.03, "waist lower_body person"),
    "bag": (0.5, 0.48, 0.14, 0.14, "waist lower_body person"),
    "skirt": (0.5, 0.56, 0.22, 0.18, "waist lower_body person"),
    "trousers": (0.5, 0.66, 0.2, 0.4, "waist lower_body person"),
    "leg": (0.55, 0.76, 0.06, 0.24, "legs stance lower_body person"),
    "legwear": (0.5, 0.78, 0.14, 0.24, "legs stance lower_body person"),
    "shoe": (0.56, 0.94, 0.06, 0.04, "shoes stance lower_body person"),
}


def _frame(names: Iterable[str]) -> dict[str, tuple[float, float, float, float, str]]:
    """The table that knows more of the names: of a face or of a whole person."""
    parts = [part(name) for name in names]
    known = [sum(p in table for p in parts) for table in (_FACE, _BODY)]
    return _BODY if known[1] > known[0] else _FACE


def usual_places(names: Sequence[str]) -> dict[str, Place]:
    """Those of the names whose place is known, by name."""
    table, found = _frame(names), {}
    for name in names:
        if part(name) in table:
            x, y, width, height, _ = table[part(name)]
            if not side(name) and x != 0.5:  # both of two in one
                x, width = 0.5, 2 * (x - 0.5) + width
            found[name] = Place.of_box(1 - x if side(name) == "l" else x, y, width, height)
    return found


def usual_area(names: Iterable[str]) -> float | None:
    """About the fraction of the image that these parts cover together; None where none is known."""
    names = list(names)
    table = _frame(names)
    areas = [table[part(name)][2] * table[part(name)][3] for name in names if part(name) in table]
    return sum(areas) if areas else None


def region(names: Sequence[str], among: Sequence[str], taken: Iterable[str]) -> str | None:
    """What people call these parts together, such as `gaze` for eyes and brows; None where no word fits at least half
    of what it means.

    Args:
        among: all parts there are; the largest region's word is for all of them.
        taken: words that are something else already.
    """
    table = _frame(among)
    if not all(part(name) in table for name in names):
        return None
    regions = {name: table[part(name)][4].split() for name in among if part(name) in table}
    words, whole, used = regions[names[0]], len(names) == len(among), set(taken)
    for word in words[-1:] if whole else words[:-1]:
        meant = {name for name, own in regions.items() if word in own}
        if word not in used and meant.issuperset(names) and 2 * len(names) >= len(meant):
            return word
    return None
