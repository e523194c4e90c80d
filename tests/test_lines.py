"""Lines of at most 120 characters, whatever the language: `ruff format` breaks code alone."""

from __future__ import annotations

import re
import subprocess

from conftest import ROOT

WIDTH = 120
SOURCES = (
    "*.py",
    "*.j2",
    "*.js",
    "*.css",
    "*.yaml",
    "*.yml",
    "*.toml",
    "*.md",
    "*.txt",
    "Makefile",
    ":!docs/reference",
)
"""All but pages that are made from docstrings."""
NOTE = re.compile(r"\s+# (noqa|type: ignore)\b.*")
"""For a linter, which reads it at the end of its line alone."""


def long_lines(name: str, text: str) -> list[str]:
    """What is too long, as `name:number`; of Markdown neither tables nor blocks of code, which are broken by none."""
    found, block = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if name.endswith(".md") and line.lstrip().startswith("```"):
            block = not block
        whole = name.endswith(".md") and (block or line.lstrip().startswith("|"))
        if not whole and len(NOTE.sub("", line)) > WIDTH:
            found.append(f"{name}:{number}")
    return found


def test_no_line_of_a_source_is_longer_than_120_characters():
    names = subprocess.run(
        ["git", "ls-files", "-z", *SOURCES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")[:-1]
    assert len(names) > 100
    texts = {name: (ROOT / name).read_text("utf-8") for name in names if (ROOT / name).exists()}
    assert [line for name, text in texts.items() for line in long_lines(name, text)] == []


def test_what_is_too_long_and_what_is_not():
    x = "é" * WIDTH  # characters are counted, not bytes
    assert long_lines("a.js", f"{x}\n{x}x\n") == ["a.js:2"]
    assert long_lines("a.py", f"{x}  # type: ignore[misc]\n{x}x  # noqa: E1\n") == ["a.py:2"]
    assert long_lines("a.md", f"| {x} |\n```sh\n{x}x\n```\n{x}x\n") == ["a.md:5"]
    assert long_lines("a.py", f"| {x} |\n```\n") == ["a.py:1"]
