"""Errors that a person can act on, how a command line ends when one is raised, and what of data may reach a
terminal."""

from __future__ import annotations

import errno
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import IO, Any, cast


class HemlError(Exception):
    """Something the user can put right: names the file, key or value, what was expected and what to do."""


def fault(path: object, what: str, again: str) -> HemlError:
    """A file that cannot be used, and the command that makes it again."""
    return HemlError(f"{path}: {what}; remove it and run `{again}` to make it again")


_JOINERS = "\u200c\u200d"
"""Have no shape of their own, and shape what stands beside them: Persian words, families of emoji."""


def shown(text: str, keep: str = "") -> str:
    """Text from data for a terminal or a drawing: what controls a terminal, breaks a line or turns its direction is
    U+FFFD.

    Args:
        keep: characters that are as they are, such as the line breaks of a text of several lines.

    >>> shown("a\\x1b[2Jb")
    'a\ufffd[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep or c in _JOINERS or unicodedata.category(c) == "Zs" else "\ufffd"
        for c in text
    )


class _Shown:
    """A stream whose text is `shown`, whoever prints it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(shown(text, "\n\t"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, NumPy's or Arrow's own error, torch's of a GPU or of a CPU, the system's."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = isinstance(error, RuntimeError) and re.search(
        "can't allocate memory|not enough memory|out of memory|bad_alloc", str(error)
    )
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or bool(said)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_SAID = re.compile(
    rf"os error ({'|'.join(map(str, _FULL))})\)"  # safetensors
    r"|PytorchStreamWriter failed|unexpected pos \d+ vs|iostream error"  # torch.save
    r"|^\d+ requested and \d+ written"  # np.save
)


def out_of_space(error: BaseException) -> bool:
    """Whether a disk, a quota or a file is full: the system's error, or the words of a library that has none."""
    number = error.errno if isinstance(error, OSError) else None
    # an OSError without a number, but with a file's name, would say neither in `str`
    said = " ".join(map(str, error.args))
    return number in _FULL or (number is None and bool(_FULL_SAID.search(said)))


EXTRAS = {
    "dicebear": "pipeline",
    "dvc": "pipeline",
    "fairlearn": "pipeline",
    "jinja2": "pipeline",
    "networkx": "pipeline",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "pytorch_metric_learning": "pipeline",
    "ray": "ray",
    "scipy": "pipeline",
    "sklearn": "pipeline",
    "starlette": "serve",
    "threadpoolctl": "pipeline",
    "uvicorn": "serve",
}
"""Package → the extra that brings it; `pip install heml` alone reads runs and makes none."""


def told(error: Exception) -> str | None:
    """One line on what is no bug; nothing of what may be one."""
    name = getattr(error, "filename", None)
    if isinstance(error, HemlError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get((error.name or "").partition(".")[0])):
        return f"{error.name}: not installed, and this command needs it; pip install 'heml[{extra}]'"
    if out_of_memory(error):
        return (
            "memory ran out; nothing half-written was kept: lower the batch_size or the size of images, run fewer"
            " stages at a time (`heml repro -j 1`), or use a machine with more"
        )
    if out_of_space(error):
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        return (
            f"no space left while writing {name or 'an output'}{why}; nothing half-written was kept: free some space"
            " and run the same command again"
        )
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return (
            f"{str(name)[:80]}…: the name is too long for a file; shorten it to at most 255 bytes, of which a letter"
            " may take up to four"
        )
    if type(error).__name__ == "BrokenProcessPool":
        return (
            "a process of this stage was ended from outside, most often for want of memory; nothing half-written was"
            " kept: run it again"
        )
    return None


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn the errors a user can act on into one message on stderr and exit status 1; what is printed meanwhile is
    `shown`.

    A bug keeps its traceback; a full disk and full memory are named, since the traceback would hide them.
    """
    stdout = sys.stdout
    try:
        with redirect_stdout(cast("IO[str]", _Shown(stdout))):
            yield
    except KeyboardInterrupt:
        print("\ninterrupted; whatever had ended is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if (line := told(error)) is None:
            raise
        sys.exit(f"error: {shown(line, chr(10))}")
