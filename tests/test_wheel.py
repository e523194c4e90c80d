"""What `pip install heml` gives, outside a checkout and without the extras: the wheel, and the packages that it
names."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from published_run import make_finished, make_masked

from heml.errors import EXTRAS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OWN = ("pipeline", "serve", "ray", "export")
"""Extras that a run can be read without."""
BOTH = ("jinja2", "networkx")
"""In EXTRAS, and brought by packages that whoever reads runs has too."""


def modules(requirements: list[str]) -> set[str]:
    """Top-level modules of the installed packages that are required."""
    wanted = {canonicalize_name(Requirement(text).name) for text in requirements}
    return {
        name
        for name, owners in packages_distributions().items()
        if wanted & {canonicalize_name(owner) for owner in owners}
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: beside the checkout's files there may be a folder `build` of an older one."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "heml", source / "heml", ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--wheel-dir",
        "out",
        ".",
    ]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = (source / "out").glob("heml-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> tuple[Path, Path]:
    """A folder with the installed wheel alone, and one with all other packages but those of the extras and the
    checkout."""
    root = tmp_path_factory.mktemp("installed")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(root / "own"),
        str(wheel),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    extras = modules([text for extra in OWN for text in PROJECT["optional-dependencies"][extra]])
    without = extras - modules(PROJECT["dependencies"]) - set(BOTH)
    assert {"dvc", "dicebear", "scipy", "sklearn"} <= without
    (root / "others").mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if path.name.split(".")[0] not in without and "heml" not in path.name and path.suffix != ".pth":
            (root / "others" / path.name).symlink_to(path)
    return root / "own", root / "others"


def python(installed: tuple[Path, Path], folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python that has these two folders and its own library, in a folder that is no checkout."""
    path = f"import sys; sys.path[:0] = {[str(path) for path in installed]}\n"
    command = [sys.executable, "-I", "-S", "-c", path + code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def heml(installed: tuple[Path, Path], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(installed, folder, "from heml.cli import main; main()", *arguments)


def test_every_file_of_the_library_is_in_the_wheel(wheel):
    files = (path.relative_to(ROOT) for path in (ROOT / "heml").rglob("*") if path.is_file())
    expected = {path.as_posix() for path in files if "__pycache__" not in path.parts}
    assert {".css", ".j2", ".js", ".py"} <= {Path(name).suffix for name in expected}
    assert "heml/py.typed" in expected
    with zipfile.ZipFile(wheel) as content:
        assert expected - set(content.namelist()) == set()


def test_the_checkout_and_the_extras_are_out_of_reach(installed, tmp_path):
    code = (
        "import heml; print(heml.__file__)\nimport importlib.util as u; print([m for m in sys.argv[1:] if"
        " u.find_spec(m)])"
    )
    done = python(installed, tmp_path, code, *sorted(set(EXTRAS) - set(BOTH)))
    assert done.stdout.splitlines() == [str(installed[0] / "heml" / "__init__.py"), "[]"], done.stderr


def test_two_images_of_a_run_are_explained(installed, run, tmp_path):
    done = heml(
        installed, tmp_path, "explain", "i003", "i006", "--models", str(run / "models"), "--data", str(run / "data")
    )
    assert done.stdout.startswith("i003 and i006: "), done.stderr
    assert "├─ left  " in done.stdout
    assert (tmp_path / "reports" / "explanations" / "i003--i006.png").is_file()


@pytest.mark.parametrize("command", [["neighbours", "i003"], ["export", "numpy", "out"], ["export", "datasets", "out"]])
def test_a_run_is_read(installed, run, tmp_path, command):
    done = heml(installed, tmp_path, *command, "--models", str(run / "models"), "--data", str(run / "data"))
    assert done.returncode == 0, done.stderr


def test_a_run_is_published_and_opened(installed, tmp_path):
    masked = make_masked(tmp_path / "masked")
    run = make_finished(masked, tmp_path / "run")
    done = heml(installed, run, "export", "hub", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    code = "import heml; print(heml.MetricTree.from_pretrained(sys.argv[1]).explain('a.png', 'b.png'))"
    done = python(installed, run, code, str(tmp_path / "out"))
    assert done.stdout.startswith("a.png and b.png: "), done.stderr


def test_what_needs_an_extra_says_so_in_one_line(installed, run, tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    done = heml(installed, tmp_path, "repro")
    assert done.returncode == 1
    assert done.stderr == "error: dvc: not installed, and this command needs it; pip install 'heml[pipeline]'\n"
    finished = ("--models", str(run / "models"), "--data", str(run / "data"))
    done = heml(installed, tmp_path, "export", "onnx", "out", "--node", "left", *finished)
    assert done.stderr == "error: onnx: not installed, and ONNX needs it; pip install 'heml[export]'\n"


def test_every_package_of_an_extra_is_named_with_it():
    for extra in OWN:
        packages = {canonicalize_name(Requirement(text).name) for text in PROJECT["optional-dependencies"][extra]}
        named = {name for name, said in EXTRAS.items() if said == extra}
        own = {name: {canonicalize_name(owner) for owner in packages_distributions()[name]} for name in named}
        others = {"heml", "dicebear-styles", "ruamel-yaml-clib"}  # another extra, data, and a part of ruamel.yaml
        missing = packages - set().union(*own.values()) - others
        assert missing == set(), extra
