"""The licence and terms of a data set or a model, as its repository states them: printed once, kept beside the
reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from heml.atomic import new_file
from heml.errors import HemlError, shown

if TYPE_CHECKING:  # the hub's client is for those who use the hub
    from heml.fetch import Repo

MOST = 20_000
"""Characters of a licence file that are kept."""

LARGEST = 1_000_000
"""Bytes above which a file is no licence to be read."""

NONE_STATED = "its card states none at this commit; ask its owner before you use it"


def hub_terms(repo: Repo) -> list[str]:
    """Lines on a hub repository: what its card says of the licence, and its licence file."""
    from heml.fetch import fetch, list_files

    lines = [f"{repo.id} on the Hugging Face hub, commit {repo.revision}"]
    wanted = ("LICENSE", "LICENCE", "COPYING")
    paths = [
        p
        for p, size in list_files(repo).items()
        if size <= LARGEST and (p == "README.md" or p.upper().split(".")[0] in wanted)
    ]
    try:
        files = dict(zip(paths, fetch(repo, paths), strict=True))
    except HemlError as error:  # the terms must not stop a run that has its data, as offline
        return [*lines, f"Licence: could not be read ({error})"]
    lines.append(f"Licence: {stated_licence(files.get('README.md')) or NONE_STATED}")
    for path, file in files.items():
        if path != "README.md":
            lines += ["", f"{path}:", "", file.read_text("utf-8", errors="replace")[:MOST].strip()]
    return lines


def stated_licence(readme: Path | None) -> str:
    """The licence that a repository's card (README.md) names in its head; empty where it names none, or its head cannot
    be read."""
    from huggingface_hub.repocard import metadata_load

    try:
        card = (metadata_load(readme) if readme else None) or {}
    except (yaml.YAMLError, ValueError):  # of undecodable text too
        card = {}
    stated = [card.get(key) for key in ("license", "license_name", "license_link")]
    return ", ".join(value[:200] for value in stated if isinstance(value, str))


def keep_terms(path: str | Path, title: str, lines: Sequence[str]) -> None:
    """Print terms and write them to `path`, as `shown`: they come from outside and go to a terminal."""
    text = shown("\n".join([title, *lines]).replace("\r\n", "\n").replace("\f", ""), "\n\t")
    print(text)
    with new_file(path) as partial:
        partial.write_text(text + "\n", "utf-8")
