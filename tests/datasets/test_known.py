"""`heml datasets`: what the presets name, and what of it is on this machine."""

import pytest
from conftest import ROOT
from mini_hub import mini_hub, use_hub
from mini_sets import STUDIES, Study, serve

from heml.cli import main
from heml.datasets.card import load_card
from heml.fetch import Repo, fetch
from heml.params import load_params


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with mini_hub() as running:
        use_hub(running.endpoint, tmp_path / "cache", monkeypatch)
        yield running


def test_every_preset_is_listed_and_nothing_is_fetched(hub, capsys):
    main(["datasets"])
    out = capsys.readouterr().out
    for path in (ROOT / "presets").glob("*.yaml"):
        assert f"{path.stem}: " in out
    assert "202,599; used: 5,000 train, 1,000 val, 1,000 test" in out
    assert "about 11.7 GB" in out
    assert "non-commercial research only" in out
    assert out.count("on disk:  nothing") == 3
    assert hub.requests == []


def test_what_was_fetched_is_said_to_be_there(hub, capsys):
    study = Study("celeba")
    serve(hub, study, model=False)
    repo = Repo(study.preset["dataset"]["repo"], study.preset["dataset"]["revision"], "dataset")
    fetch(repo, ["img_align+identity+attr/train-00000-of-00002.parquet"])
    main(["datasets"])
    out = capsys.readouterr().out
    assert "82.3 kB of 330.4 kB, 1 of 4 files; a subset needs a part of it" in out
    hub.add(
        "model",
        study.preset["segmenter"]["model"],
        study.preset["segmenter"]["revision"],
        {"README.md": b"---\nlicense: mit\n---\n"},
    )
    fetch(Repo(study.preset["segmenter"]["model"], study.preset["segmenter"]["revision"], "model"), ["README.md"])
    assert "licence: told when it is fetched; on disk: nothing" in out
    main(["datasets"])
    assert "licence: mit; on disk: nothing" in capsys.readouterr().out
    assert "size:     330.4 kB" in out


def test_a_parameter_file_that_is_wrong_does_not_hide_the_others(hub, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("dataset: {name: hub, repo: a--b/c}\n")
    main(["datasets", "--params", str(tmp_path / "mine.yaml")])
    out = capsys.readouterr().out
    assert "mine: cannot be read: " in out
    assert "scene_parse: SceneParse150" in out


def test_without_presets_the_error_says_where_to_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="no presets here; run this in a project's folder"):
        main(["datasets"])


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_fits_together(name):
    """Its label, segments and rule are classes and columns that the card and the pinned network have."""
    study = Study(name)
    params, card = load_params(ROOT / "presets" / f"{name}.yaml"), load_card(ROOT / "data" / f"{name}.yaml")
    dataset = params.dataset
    assert dataset.path.name == f"{name}.yaml"
    assert card.name == name
    assert len(params.segmenter.revision) == 40
    for segment in params.segments.values():
        assert set(segment.classes) <= set(study.network_classes)
    if dataset.rule:
        assert set(dataset.rule.classes) <= set(card.classes)
    else:
        assert dataset.label in card.labels
    assert [len(params.tree.level_0), sum(map(len, params.tree.levels()))] == {
        "celeba": [16, 31],
        "human_parsing": [16, 31],
        "scene_parse": [8, 15],
    }[name]
    counts = {"celeba": (40, 0), "human_parsing": (0, 18), "scene_parse": (0, 151)}
    assert (len(card.labels), len(card.classes)) == counts[name]
