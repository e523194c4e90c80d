"""What is stale, held against `dvc status` and `dvc repro` on a project of small scripts with the templates of this
one."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from heml.cli import main
from heml.errors import HemlError
from heml.running.staleness import MEMORY, Hashes, standing

PIPELINE = {
    "vars": ["params.yaml"],
    "stages": {
        "check": {
            "cmd": "python code/check.py",
            "always_changed": True,
            "deps": ["code/check.py"],
            "outs": ["data/named"],
        },
        "segment": {
            "cmd": "python code/copy.py",
            "params": ["segmenter"],
            "deps": ["code", "data/named/a.json", "raw"],
            "outs": ["data/maps"],
        },
        "manifest": {
            "foreach": "${segments}",
            "do": {
                "cmd": "python code/copy.py",
                "params": ["segments.${key}"],
                "deps": ["code/copy.py", "data/maps"],
                "outs": ["data/segments/segment=${key}"],
            },
        },
        "train_level_0": {
            "foreach": "${tree.level_0}",
            "do": {
                "cmd": "python code/copy.py",
                "params": ["train", "tree.level_0.${key}"],
                "deps": ["code/copy.py", "data/segments/segment=${key}"],
                "outs": ["models/nodes/${key}.bin", "reports/nodes/${key}.json"],
            },
        },
        "train_level_1": {
            "foreach": "${tree.level_1}",
            "do": {
                "cmd": "python code/copy.py",
                "params": ["train", "tree.level_1.${key}"],
                "deps": ["code/copy.py", "models/nodes/${item.left}.bin", "models/nodes/${item.right}.bin"],
                "outs": ["models/nodes/${key}.bin", "reports/nodes/${key}.json"],
            },
        },
        "embed": {"cmd": "python code/copy.py", "deps": ["models/nodes"], "outs": ["data/vectors"]},
        "evaluate": {
            "cmd": "python code/copy.py",
            "params": ["segments", "metric"],
            "deps": ["data/vectors"],
            "metrics": [{"metrics.json": {"cache": False}}],
        },
    },
}
PARAMS = {
    "segmenter": {"size": 64},
    "segments": {"hair": {"dilate": 0}, "hat": {}},
    "tree": {"level_0": {"hair": {}, "hat": {}}, "level_1": {"head": {"left": "hair", "right": "hat"}}},
    "train": {"lr": 0.001, "on": [1, 2]},
    "metric": {},
}
COPY = """
import json, os
from pathlib import Path
import yaml
name = os.environ["DVC_STAGE"].rpartition(":")[2]
lock = {p: yaml.safe_load(Path(p).read_text()) for p in ("dvc.yaml", "params.yaml")}
group, _, key = name.partition("@")
stage = lock["dvc.yaml"]["stages"][group]
stage = stage.get("do", stage)
for out in [*stage.get("outs", []), *(next(iter(m)) for m in stage.get("metrics", []))]:
    path = Path(out.replace("${key}", key))
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"seconds": 1.5, "of": name, "params": lock["params.yaml"]})
    if path.suffix:
        path.write_text(text)
    else:
        (path / "deep").mkdir(parents=True)
        (path / "a.txt").write_text(text)
        (path / "deep" / "é.txt").write_text(name)
"""


def dvc(root: Path, *command: str) -> str:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["dvc", *command], cwd=root, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "code").mkdir()
    (root / "code" / "copy.py").write_text(COPY)
    check = (
        "from pathlib import Path\nPath('data/named').mkdir(parents=True)\nPath('data/named/a.json').write_text('{}')\n"
    )
    (root / "code" / "check.py").write_text(check)
    (root / "raw" / "sub").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "sub/c.txt"):
        (root / "raw" / name).write_text(name)
    (root / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    dvc(root, "init", "--no-scm", "-q")
    dvc(root, "repro", "-q")
    return root


@pytest.fixture
def project(finished, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(finished, root)
    return root


def edit(root: Path, **values: object) -> None:
    raw = yaml.safe_load((root / "params.yaml").read_text())
    for dotted, value in values.items():
        *parents, last = dotted.split("__")
        section = raw
        for key in parents:
            section = section[key]
        section[last] = value
    (root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))


def write(root: Path, name: str, text: str) -> None:
    (root / name).unlink(missing_ok=True)  # a link into DVC's cache
    (root / name).write_text(text)


CHANGES = {
    "nothing": lambda root: None,
    "a leaf's own": lambda root: edit(root, tree__level_0__hair={"lr": 0.1}),
    "training": lambda root: edit(root, train__lr=0.002),
    "another segment": lambda root: (
        edit(root, segments={"hair": {"dilate": 0}, "hat": {}, "eye": {}}),
        edit(root, tree__level_0={"hair": {}, "hat": {}, "eye": {}}),
    ),
    "code": lambda root: write(root, "code/copy.py", COPY + "\n# edited\n"),
    "a photograph": lambda root: write(root, "raw/sub/c.txt", "other"),
    "a new photograph": lambda root: write(root, "raw/sub/d.txt", "new"),
    "a weight is gone": lambda root: (root / "models/nodes/hat.bin").unlink(),
    "a metric is edited": lambda root: write(root, "metrics.json", "{}"),
    "the order of keys": lambda root: (root / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=True)),
    "a command": (
        lambda root: (root / "dvc.yaml").write_text(
            (root / "dvc.yaml")
            .read_text()
            .replace("embed:\n    cmd: python code/copy.py", "embed:\n    cmd: python  code/copy.py")
        )
    ),
    "no lock": lambda root: (root / "dvc.lock").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_stale_is_what_dvc_says(project, change):
    CHANGES[change](project)
    found = standing(project)
    said = json.loads(dvc(project, "status", "--json"))
    assert set(found.stale) == set(said) - {"check"}
    assert (change in ("nothing", "the order of keys")) == (not found.would_run)


@pytest.mark.parametrize("change", ["a leaf's own", "a photograph", "a weight is gone"])
def test_what_runs_is_what_was_said(project, change):
    """Outputs here hold all parameters, so after an edit of these nothing comes out the same."""
    CHANGES[change](project)
    would = standing(project).would_run
    ran = set(re.findall(r"Running stage '([^']+)'", dvc(project, "repro", "--no-run-cache"))) - {"check"}
    assert ran <= set(would)
    assert set(standing(project).would_run) == set()
    if change == "a leaf's own":
        assert ran == set(would) == {"train_level_0@hair", "train_level_1@head", "embed", "evaluate"}


def test_reasons_in_words(project):
    edit(project, train__lr=0.002, segments__hair={"dilate": 1})
    write(project, "raw/a.txt", "x")
    found = standing(project)
    assert [str(reason) for reason in found.stale["train_level_1@head"]] == [
        "params.yaml: train.lr changed (0.001 → 0.002)"
    ]
    assert [str(reason) for reason in found.stale["manifest@hair"]] == [
        "params.yaml: segments.hair.dilate changed (0 → 1)"
    ]
    assert [str(reason) for reason in found.stale["segment"]] == ["raw: changed"]
    assert found.after == ["manifest@hat", "embed"]
    assert found.seconds == {"train_level_0@hair": 1.5, "train_level_0@hat": 1.5, "train_level_1@head": 1.5}


def test_an_edit_of_the_same_length_is_seen_though_hashes_are_remembered(project):
    assert not standing(project).would_run
    assert (project / MEMORY).is_file()
    before = Hashes(project).of("raw")
    write(project, "raw/a.txt", "A.TXT")
    assert Hashes(project).of("raw") != before
    assert "segment" in standing(project).stale
    (project / MEMORY).write_text('{"x": 3, "y')
    assert "segment" in standing(project).stale


def test_where_there_is_no_project(tmp_path):
    with pytest.raises(HemlError, match=r"dvc\.yaml: cannot be read .* run this in a project's folder"):
        standing(tmp_path)


@pytest.fixture
def real(finished, tmp_path, monkeypatch):
    """The command in a project whose parameters are the committed ones, that never ran."""
    from conftest import ROOT

    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_groups_by_reason_and_fits_a_screen(real, capsys):
    (real / "reports/nodes").mkdir(parents=True)
    (real / "reports/nodes/hair.json").write_text('{"seconds": 100}')
    (real / "reports/nodes/brows.json").write_text("damaged")
    main(["status"])
    out = capsys.readouterr().out
    assert "dvc.lock: never ran → 15 nodes train again" in out
    assert re.search(r"train_level_0 +8  2 min, 7 unknown", out)
    assert re.search(r"segmenter +1  unknown", out)
    assert "at most about 2 min of work" in out
    assert len(out.splitlines()) <= 40
    main(["status", "--json"])
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["seconds"] == 100
    assert {"stage": "train_level_0@hair", "seconds": 100.0} in found["would_run"]
    assert {"stage": "report", "seconds": None} in found["would_run"]
    assert found["unknown"] == len(found["would_run"]) - 1
    main(["status", "--quiet"])
    assert capsys.readouterr().out.splitlines() == [entry["stage"] for entry in found["would_run"]]


def test_the_command_looks_at_the_parameters_first(real):
    (real / "params.yaml").write_text((real / "params.yaml").read_text().replace("segmenter:", "segmentr:"))
    with pytest.raises(SystemExit, match="segmentr: unknown key.*did you mean 'segmenter'"):
        main(["status"])


def test_looking_imports_neither_dvc_nor_torch(real):
    slow = ("dvc", "torch", "pandas", "networkx")
    code = (
        f"import sys\nfrom heml.cli import main\nmain(['status', '--quiet'])\nprint([m for m in {slow} if m in"
        " sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_heml_repro_prints_a_document_or_names_for_scripts(project):
    """Here, where there is a project that runs in seconds; its parameters are not this project's, so they are not
    checked."""
    code = (
        "import heml.params\nheml.params.load_params = lambda *_: None\nfrom heml.cli import main\nmain(['repro', '-j',"
        " '1', {!r}])"
    )
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def repro(option: str, status: int = 0) -> str:
        command = [sys.executable, "-c", code.format(option)]
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == status, done.stderr
        return done.stdout

    edit(project, metric={"off": []})
    found = {stage["stage"]: stage for stage in json.loads(repro("--json"), parse_constant=pytest.fail)["stages"]}
    assert {name for name, stage in found.items() if stage["outcome"] == "ran"} == {"check", "evaluate"}
    assert found["embed"]["outcome"] == "unchanged"
    assert all(stage["seconds"] > 0 for stage in found.values())
    edit(project, metric={"off": [1]})
    assert set(repro("--quiet").split()) == {"check", "evaluate"}
    write(project, "code/copy.py", "raise SystemExit('error: no')")
    assert "failed (see above)" in json.loads(repro("--json", status=1))["error"]
