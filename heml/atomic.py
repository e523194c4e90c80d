"""Write under a temporary name and rename at the end, so that an interrupted run leaves nothing half-written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _name_the_target(error: OSError, target: Path) -> None:
    """A failed write inside a library often carries no file name; the user needs one."""
    if error.errno is not None and (error.filename is None or ".partial" in str(error.filename)):
        error.filename = str(target)


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        _name_the_target(error, path)
        raise
    finally:
        _remove(partial)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it replaces `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    _remove(partial)
    partial.mkdir()
    try:
        yield partial
        _remove(path)
        partial.replace(path)
    except OSError as error:
        _name_the_target(error, path)
        raise
    finally:
        _remove(partial)
