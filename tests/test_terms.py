"""Terms: what a repository states, kept and printed; their absence is said, and stops nothing."""

import pytest
from conftest import ROOT
from mini_hub import Fault, mini_hub, use_hub

from heml.datasets.adapters import adapter
from heml.fetch import Repo
from heml.params import FolderDataset, load_params
from heml.terms import hub_terms, keep_terms

REPO = Repo("team/faces", "d" * 40, "dataset")
CARD = b"---\nlicense: other\nlicense_name: research-only\nlicense_link: LICENSE\n---\n# Faces\n"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with mini_hub() as running:
        use_hub(running.endpoint, tmp_path / "cache", monkeypatch)
        yield running


def test_the_card_and_the_licence_file_are_kept(hub, tmp_path, capsys):
    hub.add(
        "dataset",
        REPO.id,
        REPO.revision,
        {"README.md": CARD, "LICENSE": "Only for research. ©".encode(), "x.parquet": b"1"},
    )
    keep_terms(tmp_path / "reports/terms/dataset.txt", "Data set faces", hub_terms(REPO))
    text = (tmp_path / "reports/terms/dataset.txt").read_text("utf-8")
    assert text == capsys.readouterr().out
    for said in (
        "team/faces on the Hugging Face hub, commit dddd",
        "Licence: other, research-only, LICENSE",
        "Only for research. ©",
    ):
        assert said in text
    assert not any("parquet" in path for _, path in hub.requests)


@pytest.mark.parametrize(
    "readme",
    [
        b"# Faces\n",
        b"---\n- a list\n---\n",
        b"---\nlicense: [\n---\n",
        b"---\nlicense: !!python/object/apply:os.system ['touch run']\n---\n",
        b"---\nlicense: \xff\xfe\n---\n",
        b"---\na: &a [x, x, x]\nb: &b [*a, *a, *a]\nlicense: [*b, *b, *b]\n---\n",
    ],
)
def test_no_statement_is_said(hub, tmp_path, monkeypatch, readme):
    monkeypatch.chdir(tmp_path)
    hub.add("dataset", REPO.id, REPO.revision, {"README.md": readme, "x.parquet": b"1"})
    assert "Licence: its card states none at this commit; ask its owner before you use it" in hub_terms(REPO)
    assert not (tmp_path / "run").exists()


def test_what_comes_from_outside_is_kept_short_and_plain(hub, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("heml.terms.LARGEST", 1000)
    head = b"---\nlicense: " + b"x" * 900 + b"\n---\n"
    hub.add(
        "dataset",
        REPO.id,
        REPO.revision,
        {"README.md": head, "LICENSE": b"free\x1b[2J\x07", "LICENSE.zip": b"z" * 5000},
    )
    keep_terms(tmp_path / "t.txt", "Data", hub_terms(REPO))
    text = (tmp_path / "t.txt").read_text()
    assert "x" * 200 in text
    assert "x" * 201 not in text
    assert "free\ufffd[2J" in text
    assert "\x1b" not in text + capsys.readouterr().out
    assert not any("LICENSE.zip" in path for _, path in hub.requests)


def test_terms_that_cannot_be_read_stop_nothing(hub):
    hub.add("dataset", REPO.id, REPO.revision, {"README.md": CARD, "LICENSE": b"mine"})
    hub.faults = [Fault("/resolve/.*LICENSE", status=403)]
    assert "Licence: could not be read" in hub_terms(REPO)[-1]


def test_the_network_of_a_rule_has_terms_too(hub, tmp_path):
    hub.add("model", "team/parser", "e" * 40, {"README.md": b"---\nlicense: cc-by-4.0\n---\n", "config.json": b"{}"})
    rule = {"classes": ["hat"], "model": "team/parser", "revision": "e" * 40}
    lines = adapter(FolderDataset(name="folder", path=tmp_path, label="x", rule=rule)).terms()
    assert lines[-2:] == [f"team/parser on the Hugging Face hub, commit {'e' * 40}", "Licence: cc-by-4.0"]


def test_every_kind_of_data_set_has_terms(tmp_path):
    assert "Pablo Stanley" in adapter(load_params(ROOT / "params.yaml").dataset).terms()[0]
    own = FolderDataset(name="folder", path=tmp_path, label="x")
    assert "no LICENSE or TERMS" in adapter(own).terms()[0]
    (tmp_path / "LICENSE.txt").write_text("Ours.\n")
    assert adapter(own).terms()[-1] == "Ours."
