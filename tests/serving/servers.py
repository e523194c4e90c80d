"""A `heml serve` that runs, and how it is asked."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit


@dataclass
class Served:
    """A `heml serve` that runs."""

    process: subprocess.Popen[str]
    address: str
    errors: Path

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    @property
    def path(self) -> str:
        return urlsplit(self.address).path

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, http.client.HTTPResponse, bytes]:
        """Of the exact path; headers by their names, `_` for `-`."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return answer.status, answer, answer.read()
        finally:
            connection.close()

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        """As the page does."""
        status, _, found = self.ask("POST", self.path + path, body, Origin=f"http://{self.host}")
        return status, json.loads(found)

    def add(self, data: bytes, name: str = "photo.png") -> tuple[int, Any]:
        return self.post(f"images?name={quote(name)}", data)


def start(root: Path, errors: Path) -> subprocess.Popen[str]:
    """`heml serve`, from another folder than the run's."""
    command = [sys.executable, "-m", "heml.cli", "serve", "--quiet", "--root", str(root)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with errors.open("w") as file:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, text=True, env=environment, cwd=errors.parent
        )


def ready(process: subprocess.Popen[str], errors: Path) -> Served:
    assert process.stdout
    address = process.stdout.readline().strip()
    assert address, errors.read_text()
    return Served(process, address, errors)
