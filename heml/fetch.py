"""Files of a pinned repository on the Hugging Face hub: fetched in parallel, verified, cached once per machine.

The client, its cache (`HF_HOME`), endpoint (`HF_ENDPOINT`), login (`HF_TOKEN`), offline mode (`HF_HUB_OFFLINE=1`), its
retries and its going on after a cut are `huggingface_hub`'s. Added here: a download that fails or comes short is tried
again too, and content is held against its hash, since the client compares lengths only.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import constants, get_cached_repo_tree, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from tqdm import tqdm

from heml.errors import HemlError

WORKERS = 8
"""Files fetched at a time."""

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts where the hub fails; the client waits by itself when told how long (Retry-After)."""


@dataclass(frozen=True)
class Repo:
    """A repository at a commit."""

    id: str
    revision: str
    """The commit, 40 hexadecimal digits."""
    kind: Literal["dataset", "model"]

    def __post_init__(self) -> None:
        try:
            validate_repo_id(self.id)
        except HFValidationError as error:
            raise HemlError(f"{self.id!r}: no name of a hub repository ({str(error).splitlines()[0]})") from None

    def __str__(self) -> str:
        return f"{'data set' if self.kind == 'dataset' else 'model'} {self.id} at {self.revision[:12]}"

    @property
    def url(self) -> str:
        """Its page."""
        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.id}"


def model_repo(model: str, revision: str | None, where: str = "segmenter") -> Repo | None:
    """The pinned hub repository that `model` names; None for a local folder.

    Raises:
        HemlError: neither a folder nor a hub id with the full hash of a commit.
    """
    if Path(model).is_dir():
        return None
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        raise HemlError(f"{where}.model: {model!r} is no folder here and no hub id (owner/name)")
    if not revision or not re.fullmatch("[0-9a-f]{40}", revision):
        raise HemlError(
            f"{where}.model: {model!r} is no local folder; for a hub id set {where}.revision to the commit to use, all"
            f" 40 digits of its hash{f', instead of {revision!r}, which may move' if revision else ''}: so the run can"
            " be repeated"
        )
    return Repo(model, revision, "model")


def list_files(repo: Repo) -> dict[str, int]:
    """Every file of the repository with its size in bytes; asked once per machine, since a commit does not change.

    Raises:
        HemlError: the repository, the commit or the hub cannot be had; offline, when it was never asked.
    """
    known = known_files(repo)
    if known is None and constants.HF_HUB_OFFLINE:
        raise HemlError(f"{repo}: is not on this machine, and HF_HUB_OFFLINE is set; unset it once to fetch it")
    if known is None:
        # the list comes with any file; every repository has one of these
        _download(repo, ["README.md", ".gitattributes"])
        known = known_files(repo)
    if known is None:
        raise HemlError(f"{repo}: the hub gave no list of its files; try again later")
    return known


def known_files(repo: Repo) -> dict[str, int] | None:
    """As `list_files`, from this machine alone; None where it was never asked."""
    try:
        files = {f.path: f.size for f in get_cached_repo_tree(repo.id, repo_type=repo.kind, revision=repo.revision)}
    except CachedRepoTreeNotFoundError:
        return None
    if hostile := next(
        (path for path in files if path.startswith("/") or ".." in path.split("/") or "\\" in path), None
    ):
        raise HemlError(f"{repo}: lists a file {hostile!r}, which would lie outside its folder; do not use it")
    return files


def on_disk(repo: Repo, path: str) -> Path | None:
    """A file in this machine's cache; None where it is not there."""
    found = try_to_load_from_cache(repo.id, path, repo_type=repo.kind, revision=repo.revision)
    return Path(found) if isinstance(found, str) else None


def fetch(repo: Repo, paths: Sequence[str]) -> list[Path]:
    """Files of the repository on this machine, each proven to be what the hub says it is.

    Raises:
        HemlError: not to be had, or other bytes than the hub's hash twice over; offline, which files are missing.
    """
    for attempt in range(2):
        missing = [path for path in paths if on_disk(repo, path) is None]
        if missing and constants.HF_HUB_OFFLINE:
            named = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            raise HemlError(
                f"{repo}: HF_HUB_OFFLINE is set and {len(missing)} of {len(paths)} files are not on this machine:"
                f" {named}; unset it once to fetch them"
            )
        if missing:
            _download(repo, missing)
        found = [(path, on_disk(repo, path)) for path in paths]
        absent = [path for path, file in found if file is None]
        if absent:
            raise HemlError(f"{repo}: has no file {absent[0]!r}")
        files = [file for _, file in found if file is not None]
        broken = [(path, file) for path, file in zip(paths, files, strict=True) if not _intact(file)]
        if not broken:
            return files
        for _, file in broken:
            file.resolve().unlink()
            file.unlink(missing_ok=True)
        if attempt or constants.HF_HUB_OFFLINE:
            path, _ = broken[0]
            raise HemlError(
                f"{repo}: {path} is not what the hub says it is (its hash differs); it was removed, so fetch it again"
            )
    raise AssertionError


def _intact(file: Path) -> bool:
    """Whether the bytes have the hash that the cache names them by: SHA-256 of large files, git's SHA-1 of small ones.

    Where the cache cannot link (Windows without the right), or a server names its files otherwise, there is nothing to
    compare with.
    """
    blob = file.resolve()
    if blob.parent.name != "blobs":
        return True
    if len(blob.name) == 64:
        digest = hashlib.sha256()
    elif len(blob.name) == 40:
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    else:
        return True
    with blob.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == blob.name


class _Bar(tqdm):  # type: ignore[type-arg]
    """The client's progress, at a terminal only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("name", None)
        super().__init__(*args, **(kwargs | {"disable": None, "leave": False}))


def _download(repo: Repo, paths: Sequence[str]) -> None:
    """Have the client fetch, again while the fault may pass; what was fetched whole is not fetched twice."""
    for wait in (*WAITS, None):
        try:
            snapshot_download(
                repo.id,
                repo_type=repo.kind,
                revision=repo.revision,
                allow_patterns=[escape(path) for path in paths],
                max_workers=WORKERS,
                tqdm_class=_Bar,  # type: ignore[arg-type]  # any tqdm will do
            )
        except Exception as error:
            if wait is None or not _may_pass(error):
                raise _explain(error, repo) from error
            time.sleep(wait)
        else:
            return


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error."""
    return next(
        (e.response.status_code for e in _causes(error) if isinstance(e, HfHubHTTPError) and e.response is not None),
        None,
    )


def _unreachable(error: BaseException) -> bool:
    """Whether the connection failed: the client's transport errors, whichever HTTP library it uses."""
    return any(kind.__name__ == "TransportError" for e in _causes(error) for kind in type(e).__mro__)


def _short(error: BaseException) -> bool:
    return isinstance(error, OSError) and "Consistency check failed" in str(error)


def _may_pass(error: BaseException) -> bool:
    """Whether to try again: what the client does not itself retry, which is a download that fails or comes short."""
    failed = next((e.response for e in _causes(error) if isinstance(e, HfHubHTTPError)), None)
    if failed is not None:
        return failed.status_code >= 500 and failed.request.method == "GET" and "/api/" not in str(failed.url)
    return _short(error) or isinstance(error, RuntimeError)


def _explain(error: Exception, repo: Repo) -> Exception:
    """The one message a user needs."""
    chain = list(_causes(error))
    if any(isinstance(e, GatedRepoError) for e in chain):
        return HemlError(
            f"{repo}: is gated; accept its terms at {repo.url}, then log in (`hf auth login`, or set HF_TOKEN)"
        )
    if any(isinstance(e, RevisionNotFoundError) for e in chain):
        return HemlError(f"{repo}: the repository has no such commit; its commits are at {repo.url}/commits/main")
    if any(isinstance(e, RepositoryNotFoundError) for e in chain):
        return HemlError(
            f"{repo}: the hub has no such repository, or it is private: check the name, or log in (`hf auth login`)"
        )
    if missing := next((e for e in chain if isinstance(e, EntryNotFoundError) and isinstance(e, HfHubHTTPError)), None):
        return HemlError(f"{repo}: a file that the hub listed is not there ({str(missing).splitlines()[0]})")
    status = _status(error)
    if status in (401, 403):
        return HemlError(f"{repo}: the hub refuses access ({status}); log in (`hf auth login`, or set HF_TOKEN)")
    if status is not None:
        return HemlError(f"{repo}: the hub answers {status} again and again; try later. What was fetched is kept")
    if _short(error):
        said = str(error).splitlines()[0].removeprefix("Consistency check failed: ")
        return HemlError(
            f"{repo}: a file arrives with another length than the hub says, {len(WAITS) + 1} times over: {said}"
        )
    if _unreachable(error):
        return HemlError(
            f"{repo}: the hub at {constants.ENDPOINT} cannot be reached ({chain[-1]}); check the network and try again"
        )
    if isinstance(error, RuntimeError):  # what the hub's own transfer protocol (hf_xet) raises for all its faults
        return HemlError(
            f"{repo}: the download fails, {len(WAITS) + 1} times over ({str(error).splitlines()[0]}); try again later"
        )
    return error
