"""A hub on 127.0.0.1: repositories at a commit, small files direct and large ones by redirect to a store of their own,
and faults.

It speaks what the client asks for: the tree of a commit, `resolve` with ETag, commit and size headers, HEAD and GET,
ranges.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

LARGE = (".parquet", ".safetensors", ".bin")
"""Files kept in the large-file store, as on the hub."""


@dataclass
class Fault:
    """What goes wrong, with which requests, how often."""

    path: str
    """Pattern in the request's path."""
    status: int = 0
    """Answer with this status."""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    """`cut`: half the body, then the connection closes. `short`: half, as if that were all. `altered`: another last
    byte."""
    times: int | None = None
    """None: always."""
    method: str = "GET|HEAD"

    def strikes(self, method: str, path: str) -> bool:
        if self.times == 0 or not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class MiniHub:
    """Add repositories, then point the client at `endpoint`."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str, str], dict[str, bytes]] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        """Method and path of every request."""
        self._lock = threading.Lock()
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler()) for _ in range(2)]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.endpoint, self.store = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(self, kind: str, repo: str, revision: str, files: dict[str, bytes]) -> None:
        """A repository (`dataset` or `model`) at a commit."""
        self.repos[kind, repo, revision] = files

    def fetched(self, suffix: str = "") -> list[str]:
        """Names of the files whose content was asked for, in order."""
        return [
            unquote(p).rsplit("/", 1)[-1].split("?name=")[-1]
            for m, p in self.requests
            if m == "GET" and unquote(p).endswith(suffix)
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                with hub._lock:
                    hub.requests.append((self.command, self.path))
                    fault = next((f for f in hub.faults if f.strikes(self.command, unquote(self.path))), None)
                if fault and fault.status:
                    self._send(fault.status, b"no", fault.headers)
                    return
                path = unquote(urlparse(self.path).path)
                body = fault.body if fault else ""
                if found := re.fullmatch(r"/api/(dataset|model)s/(.+?)/tree/([^/]+)", path):
                    self._tree(*found.groups())
                elif found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                    kind, repo, revision, name = found.groups()
                    self._resolve("dataset" if kind else "model", repo, revision, name, body)
                elif found := re.fullmatch(r"/store/([0-9a-f]{64})", path):
                    self._content(hub._blob(found[1]), {}, body)
                else:
                    self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

            def _files(self, kind: str, repo: str, revision: str) -> dict[str, bytes] | None:
                files = hub.repos.get((kind, repo, revision))
                if files is None:
                    known = any(key[:2] == (kind, repo) for key in hub.repos)
                    self._send(404, b"", {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"})
                return files

            def _tree(self, kind: str, repo: str, revision: str) -> None:
                if (files := self._files(kind, repo, revision)) is None:
                    return
                entries = []
                for name, content in sorted(files.items()):
                    entry: dict[str, Any] = {
                        "type": "file",
                        "path": name,
                        "size": len(content),
                        "oid": git_sha1(content),
                    }
                    if name.endswith(LARGE):
                        entry["lfs"] = {
                            "oid": hashlib.sha256(content).hexdigest(),
                            "size": len(content),
                            "pointerSize": 134,
                        }
                    entries.append(entry)
                self._send(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})

            def _resolve(self, kind: str, repo: str, revision: str, name: str, body: str) -> None:
                if (files := self._files(kind, repo, revision)) is None:
                    return
                if name not in files:
                    self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": revision})
                    return
                content = files[name]
                headers = {"X-Repo-Commit": revision, "Accept-Ranges": "bytes"}
                if name.endswith(LARGE):
                    sha = hashlib.sha256(content).hexdigest()
                    place = f"{hub.store}/store/{sha}?name={name.rsplit('/', 1)[-1]}"
                    linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{sha}"', "Location": place}
                    self._send(302, b"", headers | linked | {"ETag": f'"{git_sha1(content)}"'})
                else:
                    self._content(content, headers | {"ETag": f'"{git_sha1(content)}"'}, body)

            def _content(self, content: bytes, headers: dict[str, str], body: str) -> None:
                status = 200
                if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                    start = int(wanted[1])
                    headers = headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
                    content, status = content[start:], 206
                if body == "short":
                    content = content[: len(content) // 2]
                elif body == "altered":
                    content = content[:-1] + bytes([content[-1] ^ 1])
                self._send(status, content, headers, cut=body == "cut")

            def _send(self, status: int, content: bytes, headers: dict[str, str], cut: bool = False) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content[: len(content) // 2] if cut else content)
                if cut:
                    self.close_connection = True

        return Handler

    def _blob(self, sha: str) -> bytes:
        return next(c for files in self.repos.values() for c in files.values() if hashlib.sha256(c).hexdigest() == sha)


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def mini_hub() -> Iterator[MiniHub]:
    """A running hub."""
    hub = MiniHub()
    try:
        yield hub
    finally:
        hub.close()


def use_hub(endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point this process's client at a hub; in another process HF_ENDPOINT and HF_HUB_CACHE do the same."""
    for name, value in {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setattr("heml.fetch.WAITS", (0.01, 0.01, 0.01))
