"""The documentation as a site: built strictly, all pages listed, no link broken, nothing loaded from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT

LOADED = {
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
    ("video", "src"),
    ("object", "data"),
}
"""What a browser fetches by itself; `srcset` and styles are looked at besides."""


class Page(HTMLParser):
    """Links, ids and what is loaded, of one page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.styles = re.findall(r"<style[^>]*>(.*?)</style>", html, re.DOTALL)
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value is None:
                continue
            if name == "id":
                self.ids.add(value)
            if name == "style":
                self.styles.append(value)
            if name == "srcset":
                self.loaded += [part.split()[0] for part in value.split(",")]
            if (tag, name) in LOADED:
                self.loaded.append(value)
            if (tag, name) == ("a", "href"):
                self.links.append(value)


def build(root: Path) -> subprocess.CompletedProcess[str]:
    """In a copy, so that no site of anybody's is replaced."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)


def copied(root: Path) -> Path:
    shutil.copytree(ROOT / "docs", root / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "zensical.toml", root)
    return root


def listed(nav: Any) -> Iterator[str]:
    """Files that the navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from listed(entry)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copied(tmp_path_factory.mktemp("site"))
    done = build(root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {path.relative_to(site).as_posix(): Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    nav = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    named = list(listed(nav))
    assert len(named) == len(set(named))
    assert set(named) == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


def test_every_link_and_picture_leads_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        if name == "404.html":  # its links are from the root of wherever the site will stand
            continue
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            target = target / "index.html" if target.is_dir() else target
            there = target.resolve().relative_to(site.resolve()).as_posix() if target.is_file() else None
            if there is None or (parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].ids):
                broken.append((name, link))
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site, pages):
    elsewhere = re.compile(r"^(?:https?:)?//", re.IGNORECASE)
    assert [(name, url) for name, page in pages.items() for url in page.loaded if elsewhere.match(url)] == []
    styles = {name: "\n".join(page.styles) for name, page in pages.items()}
    styles |= {path.name: path.read_text("utf-8") for path in site.rglob("*.css")}
    assert len(styles) > len(pages)
    fetched = r"url\(\s*['\"]?(?:https?:)?//|@import\s+['\"]?(?:https?:)?//"
    assert [name for name, text in styles.items() if re.search(fetched, text, re.IGNORECASE)] == []


def test_what_the_themes_script_would_fetch_is_on_no_page(site):
    """It fetches a library for diagrams, for galleries and for code to run, where a page has such; none has."""
    marks = r'class="[^"]*\b(?:mermaid|glightbox|pyodide)\b'
    assert [path.name for path in site.rglob("*.html") if re.search(marks, path.read_text("utf-8"))] == []


def test_the_site_is_what_the_pages_say(site, pages):
    assert {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")} <= pages.keys()
    assert not list(site.rglob("*.py"))
    tables = (site / "reference" / "parameters.html").read_text("utf-8")
    assert tables.count("<table>") > 15
    assert "<code>epochs_decay</code>" in tables
    text = (site / "tutorial.html").read_text("utf-8")
    assert "language-console" in text
    assert '<span class="' in text.split("language-console")[1].split("</pre>")[0]
    for name in pages:
        visible = re.sub(r"<(script|style|pre|code)\b.*?</\1>", "", (site / name).read_text("utf-8"), flags=re.DOTALL)
        assert "|---" not in visible, f"{name} has a table that is none"
        assert "```" not in visible, f"{name} has a block that is none"


def test_search_finds_what_the_pages_hold(site):
    index = (site / "search.json").read_text("utf-8")
    for words in ("epochs_decay", "recompose", "MetricTree.explain", "keep class ids"):
        assert words in index


@pytest.mark.parametrize(
    "mistake",
    ["[gone](gone.md)", "[no heading](results/index.md#there-is-no-such-heading)"],
)
def test_a_broken_link_fails_the_build(tmp_path, mistake):
    root = copied(tmp_path)
    with (root / "docs" / "start.md").open("a") as file:
        file.write(f"\n{mistake}\n")
    assert build(root).returncode != 0


def test_git_ignores_the_built_site():
    # 128: no repository
    assert subprocess.run(["git", "check-ignore", "-q", "site/index.html"], cwd=ROOT).returncode in (
        0,
        128,
    )
