"""`heml init`: what it writes runs, and nothing of anybody's is lost."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from conftest import ROOT
from mini_hub import mini_hub, use_hub
from PIL import Image

from heml.cli import main
from heml.datasets.adapters import adapter
from heml.params import load_params
from heml.tree import Tree

COMMIT = "c" * 40


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The folder of a project without parameters."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    shutil.copytree(ROOT / "presets", root / "presets")
    shutil.copy(ROOT / "dvc.yaml", root)
    for card in (ROOT / "data").glob("*.yaml"):
        shutil.copy(card, root / "data")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def plain(tmp_path):
    """A plain folder of photographs, and a table beside it."""
    folder = tmp_path / "My Photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(folder / f"p{k:02d}.png")
    table = tmp_path / "who.csv"
    table.write_text(
        "file;who;year\n" + "".join(f"p{k:02d}.png;{('ann', 'bob')[k % 2]};{1990 + k}\n" for k in range(11))
    )
    return folder, table


def init(capsys, *arguments: str) -> str:
    main(["init", *arguments])
    return capsys.readouterr().out


def test_masks_and_a_table(project, make_folder, capsys):
    root = make_folder(40)
    out = init(capsys, str(root))
    params = load_params()
    assert params.dataset.path == root
    assert params.dataset.label == "kind"
    assert params.segmenter.source == "masks"
    assert set(params.segments) == {"square", "dot"}
    assert Tree.from_params(params).root == "whole"
    assert "40 photographs, 48×40" in out
    assert "the column 'kind'" in out
    assert f"outside the project ({root})" in out
    assert "next: heml repro" in out
    records, description, _ = adapter(params.dataset).open()
    assert description.label_names == ["blue", "red"]
    assert sum(1 for _ in records) == 40


def test_a_part_that_is_asked_for_is_the_label_and_no_segment(project, make_folder, capsys):
    root = make_folder(40, size=(64, 64))
    for path in (root / "masks").iterdir():
        ids = np.asarray(Image.open(path)).copy()
        ids[45:60, 2:20] = 3
        Image.fromarray(ids).save(path)
    (root / "classes.json").write_text('{"background": 0, "square": 1, "dot": 2, "hat": 3}')
    out = init(capsys, str(root), "--ask", "dots")
    params = load_params()
    assert params.dataset.label == "dots"
    assert params.dataset.rule.classes == ["dot"]
    assert set(params.segments) == {"square", "hat"}
    assert "left out: dot, which the label is read off" in out
    _, description, _ = adapter(params.dataset).open()
    assert description.label_names == ["no dots", "dots"]
    records = list(adapter(params.dataset).open()[0])
    assert sum(r.label for r in records) == 30, "three of four show the dot"


def test_a_part_that_tells_a_column_by_itself_is_no_segment(project, make_folder, capsys):
    root = make_folder(40, size=(64, 64))
    lines = (root / "labels.csv").read_text().splitlines()
    lines = [lines[0] + ",dotted", *(f"{line},{'yes' if k % 4 else 'no'}" for k, line in enumerate(lines[1:]))]
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    for path in (root / "masks").iterdir():
        ids = np.asarray(Image.open(path)).copy()
        ids[45:60, 2:20] = 3
        Image.fromarray(ids).save(path)
    (root / "classes.json").write_text('{"background": 0, "square": 1, "dot": 2, "hat": 3}')
    out = init(capsys, str(root), "--label", "dotted")
    assert set(load_params().segments) == {"square", "hat"}
    assert "left out: dot, which is there just where 'dotted' is of one value" in out
    init(capsys, str(root), "--label", "kind", "--force")
    assert set(load_params().segments) == {"square", "hat", "dot"}


def test_a_plain_folder_is_gathered_where_dvc_sees_it(project, plain, capsys):
    folder, table = plain
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    out = init(capsys, str(folder), "--labels", str(table))
    params = load_params()
    assert params.dataset.path.as_posix() == "data/raw/my_photos"
    assert (params.segmenter.source, params.segmenter.model) == ("pretrained", "jonathandinu/face-parsing")
    assert "for photographs of faces, since they are not tall" in out
    assert "linked into data/raw/my_photos, where DVC sees them" in out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name: path.read_bytes() for path in (project / "data/raw/my_photos/images").iterdir()} == before
    records = list(adapter(params.dataset).open()[0])
    assert len(records) == 11, "the table lacks one"
    assert {r.image_id: r.label for r in records} == {f"p{k:02d}": k % 2 for k in range(11)}


def test_a_question_chooses_the_segmenter_that_knows_it(project, plain, capsys):
    folder, _ = plain
    for word, model, classes in (
        ("glasses", "jonathandinu/face-parsing", ["eye_g"]),
        ("dress", "mattmdjaga/segformer_b2_clothes", ["Dress"]),
        ("building", "nvidia/segformer-b0-finetuned-ade-512-512", ["building"]),
    ):
        out = init(capsys, str(folder), "--ask", word, "--force")
        params = load_params()
        assert params.segmenter.model == params.dataset.rule.model == model
        assert params.segmenter.revision == params.dataset.rule.revision
        assert params.dataset.rule.classes == classes
        assert not {c for s in params.segments.values() for c in s.classes} & set(classes)
        assert f"knows {word}" in out
    init(capsys, str(folder), "--ask", "hat", "glasses", "--force")
    assert load_params().dataset.label == "hat_or_glasses"
    assert load_params().dataset.rule.classes == ["hat", "eye_g"]


def test_a_named_model_says_its_classes(project, plain, tmp_path, capsys, monkeypatch):
    folder, table = plain
    config = {"id2label": {"0": "background", "1": "petal", "2": "stem", "3": "leaf"}}
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers" / "config.json").write_text(json.dumps(config))
    (tmp_path / "flowers" / "preprocessor_config.json").write_text('{"size": {"height": 96, "width": 64}}')
    init(capsys, str(folder), "--ask", "leaf", "--model", str(tmp_path / "flowers"))
    params = load_params()
    assert set(params.segments) == {"petal", "stem"}
    assert params.dataset.rule.model == str(tmp_path / "flowers")
    assert (params.segmenter.size.height, params.dataset.rule.size.width) == (96, 64)
    with mini_hub() as hub:
        use_hub(hub.endpoint, tmp_path / "cache", monkeypatch)
        hub.add(
            "model",
            "team/flowers",
            COMMIT,
            {
                "config.json": json.dumps(config).encode(),
                "preprocessor_config.json": b"{}",
                "model.safetensors": b"not asked for",
            },
        )
        init(capsys, str(folder), "--labels", str(table), "--model", "team/flowers", "--revision", COMMIT, "--force")
        assert set(hub.fetched(".json")) == {"config.json", "preprocessor_config.json"}
        assert not hub.fetched("model.safetensors")
    params = load_params()
    assert (params.segmenter.model, params.segmenter.revision) == ("team/flowers", COMMIT)
    assert set(params.segments) == {"petal", "stem", "leaf"}


def test_nothing_is_overwritten_unasked_and_the_old_comes_back(project, make_folder, capsys):
    root = make_folder(40)
    lines = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text(
        "\n".join([lines[0] + ",note2", *(f"{line},{k // 20}" for k, line in enumerate(lines[1:]))]) + "\n"
    )
    (project / "params.yaml").write_text("mine\n")
    with pytest.raises(SystemExit, match="params.yaml: is there already; --force replaces it"):
        main(["init", str(root)])
    out = init(capsys, str(root), "--force")
    assert "mv params.old.yaml params.yaml" in out
    assert (project / "params.old.yaml").read_text() == "mine\n"
    assert "mv params.old2.yaml params.yaml" in init(capsys, str(root), "--force")
    for command in (
        ["init", "-q"],
        ["add", "params.yaml"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], check=True)
    committed = (project / "params.yaml").read_text()
    assert "git checkout params.yaml" in init(capsys, str(root), "--force", "--label", "note2")
    assert (project / "params.yaml").read_text() != committed
    assert len(list(project.glob("params.old*"))) == 2
    subprocess.run(["git", "checkout", "-q", "params.yaml"], check=True)
    assert (project / "params.yaml").read_text() == committed


def test_a_folder_of_somebodys_is_never_replaced(project, plain):
    folder, table = plain
    (project / "data/raw/my_photos").mkdir(parents=True)
    (project / "data/raw/my_photos/mine.txt").write_text("keep")
    with pytest.raises(SystemExit, match="is there already, and not of this command's making; move it away"):
        main(["init", str(folder), "--labels", str(table), "--force"])
    assert (project / "data/raw/my_photos/mine.txt").read_text() == "keep"
    assert not (project / "params.yaml").exists()


def test_json_and_quiet(project, make_folder, capsys):
    root = make_folder(40)
    found = json.loads(init(capsys, str(root), "--json"), parse_constant=pytest.fail)
    params = load_params()
    assert found["segments"] == list(params.segments)
    assert found["label"] == {"name": "kind", "classes": [], "area": None}
    assert found["dataset"] == {"path": str(root), "gathered": False, "images": 40, "masks": 40}
    assert init(capsys, str(root), "--quiet", "--force") == "params.yaml\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ask", "glases"], r"--ask glases: no preset's SegFormer knows it .*did you mean 'glasses'\?"),
        ([], r"nothing says what to learn; ask for a part \(--ask glasses\), or give a table of labels"),
        (["--label", "who"], "nothing says what to learn"),
        (["--labels", "WHO", "--label", "woh"], r"--label woh: .*has the columns who, year; did you mean 'who'\?"),
        (["--labels", "none.csv"], "none.csv: no such file"),
        (["--revision", "x"], "--revision: is the commit of --model, which is not given"),
        (["--ask", "x", "--model", "team/x"], "all 40 digits"),
        (["--ask", "x", "--presets", "nowhere"], "nowhere: no presets here"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_is_written(project, plain, arguments, message):
    folder, table = plain
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        main(["init", str(folder), *(str(table) if a == "WHO" else a for a in arguments)])
    assert not (project / "params.yaml").exists()
    assert not (project / "data/raw").exists()


def test_names_in_the_folder_reach_no_terminal_as_they_are(project, make_folder, capsys):
    root = make_folder(40)
    (root / "images" / "\x1b[2J[red].txt").write_text("")
    out = init(capsys, str(root))
    assert "\x1b" not in out
    assert "\ufffd[2J[red].txt" in out
