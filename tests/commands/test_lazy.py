"""A typed command imports what it needs, and no more."""

import subprocess
import sys

import pytest
from conftest import ROOT

HEAVY = ("torch", "pandas", "sklearn", "matplotlib", "transformers", "dvc", "scipy")


def imported(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", f"import sys\n{code}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_parser_alone_imports_nothing_of_size():
    seen = (*HEAVY, "numpy", "pyarrow", "pydantic", "rich", "shtab")
    assert imported(f"import heml.cli\nprint([m for m in {seen} if m in sys.modules])") == "[]"


@pytest.mark.parametrize("command", [["tree"], ["tree", "--pair", "a,b"], ["tree", "--json"], ["datasets"]])
def test_commands_that_compute_nothing_import_nothing_that_computes(command):
    code = f"from heml.cli import main\nmain({command})\nprint([m for m in {HEAVY} if m in sys.modules])"
    assert imported(code) == "[]"


def test_a_bar_is_silent_in_a_pipe(capfd):
    from heml.commands.common import steps

    with steps("work", 2) as bar:
        bar.update()
        bar.update()
    assert capfd.readouterr() == ("", "")
