"""What several commands share: kinds of arguments, where a finished run lies, and names from data as names of files."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heml.errors import HemlError
from heml.meant import meant
from heml.progress import progress
from heml.run import Run

if TYPE_CHECKING:
    from tqdm import tqdm

    from heml.explanation.metric_tree import MetricTree
    from heml.explanation.views import Gallery

Commands = Any
"""What `add_subparsers` returns, whose class argparse keeps to itself."""

SPLITS = ("train", "val", "test")
"""As `heml.images.shards` has them, which imports Arrow."""


def distance(name: str) -> str:
    """The name of a distance, as an argument."""
    from pydantic import TypeAdapter, ValidationError

    from heml.params import Distance

    try:
        found: str = TypeAdapter(Distance).validate_python(name)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"{name!r} is none; choose snr, euclidean, cosine, l1, l2 …") from None
    return found


def fraction(text: str) -> float:
    """A number above 0, at most 1, as an argument."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a fraction above 0, at most 1")
    return value


def count(text: str) -> int:
    """A number from 1 to 100, as an argument."""
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to 100")
    return int(text)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Where a finished run lies."""
    parser.add_argument(
        "--models", type=Path, default=Path("models"), help="folder of a finished run (default: models)"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of its data, for images by image_id (default: data)"
    )


def run_of(arguments: argparse.Namespace) -> Run:
    """The run that a command was given, by its folders."""
    given = vars(arguments)
    return Run(**{name: given[name] for name in ("data", "models", "reports") if name in given})


def add_out(parser: argparse.ArgumentParser, out: str) -> None:
    """Where files go."""
    parser.add_argument("--out", type=Path, default=Path(out), help=f"where files go (default: {out})")


def file_name(name: str) -> str:
    """A name from data as part of a file's name: at most 80 bytes; of a longer one the beginning and a hash of all of
    it."""
    plain = re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "image"
    if len(plain.encode()) <= 80:
        return plain
    told_apart = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{plain.encode()[:68].decode(errors='ignore')}-{told_apart}"


def steps(what: str, total: int) -> tqdm[None]:
    """A bar of so many steps, for what would otherwise be silent for seconds: `with … as bar`, then `bar.update()`
    after each."""
    nothing: list[None] = []
    return progress(nothing, what, total, "step")


def check_images(names: Iterable[str], run: Run) -> None:
    """An unknown image is told before torch is imported to look at the known."""
    unknown = [name for name in names if not os.path.isfile(name)]  # noqa: PTH113 (pathlib fails at too long a name)
    if unknown and (run.canvases / "index.parquet").is_file():
        from heml.images.canvas import canvas_index

        ids = canvas_index(run.canvases).table(["image_id"])["image_id"].to_pylist()
        for name in unknown:
            if name not in ids:
                near = meant(name, ids)
                such = f"{len(ids)} images, such as {ids[0]!r}"
                raise HemlError(f"{name[:200]}: no such file, and no image of the data set ({such}){near}")


def gallery_of(tree: MetricTree) -> Gallery:
    """The embeddings of a finished run.

    Raises:
        HemlError: there are none.
    """
    if tree.gallery is None:
        raise HemlError(f"{tree.run.data}: no embeddings there; run `dvc repro embed`, or name the folder with --data")
    return tree.gallery
