"""What lies in the folder of a data set: which files are images, which are junk, and what must not be followed."""

from __future__ import annotations

import difflib
import stat
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from heml.errors import HemlError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""In upper case or lower."""
JUNK = ("thumbs.db", "desktop.ini", "__macosx")
"""What systems leave behind, beside names that begin with a dot."""


@dataclass(frozen=True)
class Listing:
    """The images in one folder."""

    files: dict[str, Path]
    """Name without its ending, in composed Unicode (NFC) → file."""
    others: list[str]
    """Names of what is no image and no junk: other files, and sub-folders with a slash."""


def list_images(folder: Path, root: Path) -> Listing:
    """The image files of a folder, found by listing it, so that an id with `../` in it leads nowhere.

    Args:
        root: the data set's folder, which no link may leave.

    Raises:
        HemlError: no such folder, or one that is a link; two images of one name; an image that is no file, or lies
            elsewhere.
    """
    if folder.is_symlink():
        raise HemlError(
            f"{folder}: is a link, and what lies behind it would not be watched; move the files here, or link {root} as"
            " a whole"
        )
    if not folder.is_dir():
        raise HemlError(f"{folder}: no such folder; dataset.path must hold {folder.name}/")
    files: dict[str, Path] = {}
    others = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.casefold() in JUNK:
            continue
        if path.suffix.lower() not in SUFFIXES:
            others.append(path.name + "/" * path.is_dir())
            continue
        check_file(path, root)
        name = unicodedata.normalize("NFC", path.stem)
        if name in files:
            raise HemlError(f"{path}: {files[name].name} has the same image_id {name!r}; rename one")
        files[name] = path
    if not files and others:
        raise HemlError(
            f"{folder}: holds no image, only {some(others)}; images must lie directly in it, not in sub-folders"
        )
    return Listing(files, others)


def check_file(path: Path, root: Path) -> None:
    """
    Raises:
        HemlError: it is no regular file, or a link that dangles or leaves `root`; such would hang, or read another
            place.
    """
    try:
        real = path.resolve(strict=True)
        regular = stat.S_ISREG(real.stat().st_mode)
    except (OSError, RuntimeError):  # a link to nowhere, or to itself
        raise HemlError(f"{path}: a link that leads to no file; remove or mend it") from None
    if not regular:
        raise HemlError(f"{path}: is no file (a folder, pipe or device); remove it")
    if path.is_symlink() and not real.is_relative_to(root.resolve()):
        raise HemlError(f"{path}: is a link out of {root}, which would not be watched; copy the file")


def some(names: Collection[str], most: int = 5) -> str:
    """`7 (a, b, c, …)`: how many, and which."""
    shown = ", ".join(sorted(names)[:most])
    return f"{len(names)} ({shown}{', …' if len(names) > most else ''})"


def meant(name: str, known: Iterable[str]) -> str:
    """What a name that is not there probably means, as the end of a message; nothing where none is near."""
    known = list(known)
    bare, suffix = name.rpartition(".")[0], "." + name.rpartition(".")[2].lower()
    if suffix in SUFFIXES and bare in known:
        return f"; ids have no ending: write {bare!r}"
    zeros = [other for other in known if other.lstrip("0") == name.lstrip("0")]
    if zeros:
        return f"; zeros at its front were lost: {zeros[0]!r} is there"
    near = difflib.get_close_matches(name, known, 1, 0.79)
    return f"; the nearest name there is {near[0]!r}" if near else ""
