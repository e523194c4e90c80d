"""Completion, as the shell itself does it."""

import subprocess

import pytest

from heml.cli import main


def script(capsys, shell: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", shell])
    assert not end.value.code
    return capsys.readouterr().out


def completed(source: str, *words: str, folder) -> set[str]:
    """What bash would offer for the last of the words."""
    quoted = " ".join(f"'{word}'" for word in words)
    ask = f'COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _shtab_heml heml "{words[-1]}" "{words[-2]}"'
    show = 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{source}\n{ask}\n{show}"], capture_output=True, text=True, cwd=folder
    )
    assert not done.stderr
    return set(done.stdout.split())


def test_bash_completes_commands_options_values_and_files(capsys, tmp_path):
    source = script(capsys, "bash")
    assert "complete -o" in source
    (tmp_path / "a_photo.png").touch()
    assert completed(source, "heml", "ex", folder=tmp_path) == {"explain", "export"}
    assert completed(source, "heml", "tree", "--pa", folder=tmp_path) == {"--params", "--pair"}
    assert completed(source, "heml", "neighbours", "--split", "t", folder=tmp_path) == {"train", "test"}
    assert completed(source, "heml", "explain", "a_", folder=tmp_path) == {"a_photo.png"}


@pytest.mark.parametrize(("shell", "line"), [("zsh", "#compdef heml"), ("tcsh", "complete heml ")])
def test_other_shells_have_theirs(capsys, shell, line):
    found = script(capsys, shell)
    assert line in found
    for command in ("explain", "neighbours", "tree", "bias"):
        assert command in found


def test_an_unknown_shell_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--print-completion", "fish"])
    assert "choose from" in capsys.readouterr().err
