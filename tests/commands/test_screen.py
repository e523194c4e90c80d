"""What reaches a terminal, a pipe and a program."""

import json
import math
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from heml.commands.screen import Screen, drawing, table, text
from heml.tree import propose

TREE = propose(["l_eye", "r_eye", "hair"])
CODE = """
from heml.commands.screen import Screen, drawing, table, text
from heml.errors import exit_on_error
from heml.tree import propose
with exit_on_error():
    screen = Screen()
    screen.say(text(("[red]eyes[/red] :smile: ", "red"), "a\\x1b[2Jb\\x9bc"))
    screen.say(drawing(propose(["hair", "hat"]), {"hair": text(("+1", "blue"))}))
    screen.say(table([["[bold]x", "1"], ["y", "\\x1b]0;t\\x07"]]))
    screen.say("word " * 60)
    screen.result(text("/a/path/" + "long " * 40))
"""


def at_a_terminal(code: str, **environment: str) -> str:
    """What a process writes to a terminal of its own."""
    mine, theirs = pty.openpty()
    given = {
        key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM", "FORCE_COLOR", "COLUMNS")
    }
    done = subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, env=given | {"TERM": "xterm-256color"} | environment
    )
    os.close(theirs)
    found = b""
    try:
        while part := os.read(mine, 65536):
            found += part
    except OSError:  # the other end is closed
        pass
    os.close(mine)
    assert done.wait() == 0
    return found.decode().replace("\r\n", "\n")


def in_a_pipe(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


STYLE = re.compile(r"\x1b\[[0-9;]*m")


def test_a_terminal_has_colours_and_nothing_else_that_controls_it():
    out = at_a_terminal(CODE)
    assert "\x1b[31m[red]eyes[/red] :smile: \x1b[0m" in out
    assert "\x1b[34m+1\x1b[0m" in out
    assert "a\ufffd[2Jb\ufffdc" in out
    assert "\x1b" not in STYLE.sub("", out)
    assert "\x07" not in out
    assert "[bold]x" in out
    assert "y        \ufffd]0;t\ufffd" in out


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colours_a_terminal_gets_what_a_pipe_gets(environment):
    piped = in_a_pipe(CODE)
    assert at_a_terminal(CODE, **environment) == piped
    assert "\x1b" not in piped
    assert "word " * 59 in piped
    assert piped.startswith("[red]eyes[/red] :smile: a\ufffd[2Jb\ufffdc\nroot\n├─ hair  +1\n└─ hat\n[bold]x  1\n")


def test_a_terminal_shows_the_words_of_a_pipe():
    shown, piped = STYLE.sub("", at_a_terminal(CODE)), in_a_pipe(CODE)
    assert shown.split() == piped.split()
    assert "/a/path/" + "long " * 39 in shown, "what is to be copied is not broken"
    assert "word " * 30 not in shown, "prose is broken between words"


def test_a_drawing_is_the_trees_own(capsys):
    notes = {"hair": "[x] y", "eyes": "z"}
    Screen().say(drawing(TREE, {name: text(note) for name, note in notes.items()}))
    assert capsys.readouterr().out == TREE.draw(notes) + "\n"


def test_columns_line_up(capsys):
    Screen().say(table([["猫", "1.5", "b"], ["long", "10", ""]], ("n", "value", "x"), [1]))
    assert capsys.readouterr().out.splitlines() == ["n     value  x", "猫      1.5  b", "long     10"]


def test_quiet_leaves_the_result_and_json_the_document(capsys):
    for screen, expected in (
        (Screen(), "said\nresult\n"),
        (Screen(quiet=True), "result\n"),
        (Screen(as_json=True), '{\n  "a": 1\n}\n'),
    ):
        screen.say("said")
        screen.result("result")
        screen.document({"a": 1})
        assert capsys.readouterr().out == expected


def test_a_document_is_json_whatever_is_in_it(capsys):
    Screen(as_json=True).document({"nan": math.nan, "path": Path("a/b"), "text": "\x1b[2J\u202e猫\udcff"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    found = json.loads(out, parse_constant=pytest.fail)
    assert found == {"nan": None, "path": "a/b", "text": "\x1b[2J\u202e猫\udcff"}
