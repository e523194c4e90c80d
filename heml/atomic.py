"""Write under a temporary name and rename at the end, so that an interrupted run leaves nothing half-written.

Within a project the temporary name is in a folder of the project's own, which no stage looks into: a stage that was
killed cannot clean up, and what it left beside an out would be read by whoever reads the folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heml.lifetime import insist

UNFINISHED = ".unfinished"
"""Folder beside dvc.yaml that holds what is being written, by process."""


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _place(path: Path) -> Path:
    """An empty folder of this process on the file system of `path`: in its project's `UNFINISHED`, else beside it."""
    beside = path.parent.resolve()
    for folder in (beside, *beside.parents):
        if (folder / "dvc.yaml").is_file():
            if folder.stat().st_dev == beside.stat().st_dev:
                (folder / UNFINISHED).mkdir(exist_ok=True)
                return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=folder / UNFINISHED))
            break
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=beside))


def clear_unfinished(project: Path = Path()) -> None:
    """Remove what processes that are no more have left in a project."""
    for place in (project / UNFINISHED).glob("[0-9]*-*"):
        try:
            os.kill(int(place.name.partition("-")[0]), 0)
        except ProcessLookupError:
            _remove(place)
        except (ValueError, PermissionError):
            continue


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Yield a temporary path of the same name; failed writes name `path`, and nothing temporary stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place: Path | None = None
    try:
        place = _place(path)
        yield place / path.name
    # inside a library often without a file name, or no OSError; the user needs one (`heml.errors`)
    except Exception as error:
        name = getattr(error, "filename", None)
        if name is None or str(place or UNFINISHED) in str(name):
            error.filename = str(path)  # type: ignore[attr-defined]
        raise
    finally:
        if place:
            _remove(place)


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; it becomes `path` when the block ends without an error.

    Raises:
        HemlError: whoever ran this stage has ended.
    """
    path = Path(path)
    with _partial(path) as partial:
        yield partial
        insist()
        partial.replace(path)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder; it replaces `path` when the block ends without an error.

    Raises:
        HemlError: whoever ran this stage has ended.
    """
    path = Path(path)
    with _partial(path) as partial:
        partial.mkdir()
        yield partial
        insist()
        _remove(path)
        partial.replace(path)
