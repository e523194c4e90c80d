"""Fetching, through the real client from a real server: whole, parallel, resumed, verified, cached, offline, and every
fault."""

import threading
import time

import pytest
from mini_hub import Fault, MiniHub, mini_hub, use_hub

import heml.fetch
from heml.errors import HemlError
from heml.fetch import Repo, fetch, list_files, on_disk

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = Repo("team/faces", COMMIT, "dataset")
FILES = {
    "README.md": b"---\nlicense: mit\n---\n# Faces\n",
    "data/train-[0].parquet": bytes(range(256)) * 4000,
    "data/train-1.parquet": b"second" * 50_000,
}
SHARDS = sorted(name for name in FILES if name.endswith(".parquet"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with mini_hub() as running:
        running.add("dataset", REPO.id, COMMIT, FILES)
        use_hub(running.endpoint, tmp_path / "cache", monkeypatch)
        yield running


def test_files_are_listed_fetched_whole_and_not_asked_for_twice(hub):
    assert list_files(REPO) == {name: len(content) for name, content in FILES.items()}
    paths = fetch(REPO, SHARDS)
    assert [path.read_bytes() for path in paths] == [FILES[name] for name in SHARDS]
    before = len(hub.requests)
    assert fetch(REPO, SHARDS) == paths
    assert list_files(REPO)
    assert len(hub.requests) == before


def test_only_what_is_needed_is_fetched(hub):
    fetch(REPO, ["data/train-1.parquet"])
    assert set(hub.fetched(".parquet")) == {"train-1.parquet"}
    assert on_disk(REPO, "data/train-[0].parquet") is None


def test_files_come_side_by_side(hub, monkeypatch):
    """With two files held back until both were asked for, one at a time would never end."""
    both = threading.Barrier(2, timeout=20)
    blob = MiniHub._blob

    def wait_for_the_other(self, sha):
        both.wait()
        return blob(self, sha)

    monkeypatch.setattr(MiniHub, "_blob", wait_for_the_other)
    assert len(fetch(REPO, SHARDS)) == 2


def test_a_cut_connection_goes_on_where_it_broke(hub, monkeypatch):
    # 10 MB, what comes in between is asked for again
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.faults = [Fault("/store/.*train-1", body="cut", times=1)]
    served = []
    content = hub._servers[1].RequestHandlerClass._content

    def count(self, data, headers, body):
        served.append(self.headers.get("Range"))
        return content(self, data, headers, body)

    hub._servers[1].RequestHandlerClass._content = count
    (path,) = fetch(REPO, ["data/train-1.parquet"])
    assert path.read_bytes() == FILES["data/train-1.parquet"]
    assert served == [None, "bytes=150000-"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/tree/", status=500, times=2),
        Fault("/resolve/", status=500, times=2),
        Fault("/store/", status=500, times=2),
        Fault("/store/", status=429, headers={"Retry-After": "1"}, times=1),
        Fault("/resolve/", status=429, headers={"Retry-After": "1"}, times=3),
        Fault("/store/", body="short", times=1),
        Fault("/store/", body="altered", times=1),
    ],
    ids=lambda f: f"{f.path.strip('/')}-{f.status or f.body}",
)
def test_a_fault_that_passes_ends_in_the_whole_set(hub, fault):
    hub.faults = [fault]
    started = time.monotonic()
    assert [path.read_bytes() for path in fetch(REPO, SHARDS)] == [FILES[name] for name in SHARDS]
    assert fault.times == 0
    if fault.headers:
        assert time.monotonic() - started >= 1  # as long as the hub asked for


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("/tree/", status=404, headers={"X-Error-Code": "RepoNotFound"}), "no such repository, or it is private"),
        (Fault("/tree/", status=404, headers={"X-Error-Code": "RevisionNotFound"}), "no such commit"),
        (
            Fault("/resolve/.*train", status=404, headers={"X-Error-Code": "EntryNotFound"}),
            "a file that the hub listed is not there",
        ),
        (Fault("/tree/", status=401), r"refuses access \(401\); log in"),
        (
            Fault("/resolve/.*train", status=403, headers={"X-Error-Code": "GatedRepo"}),
            "is gated; accept its terms at .*/datasets/team/faces",
        ),
        (Fault("/store/", status=500), "answers 500 again and again"),
        (Fault("/tree/", status=501), "answers 501"),
        (Fault("/store/", body="short"), "another length than the hub says"),
        (Fault("/store/", body="altered"), "not what the hub says it is"),
    ],
    ids=lambda x: (
        f"{x.path.strip('/')}-{x.status or x.body}-{x.headers.get('X-Error-Code', '')}" if isinstance(x, Fault) else ""
    ),
)
def test_a_fault_that_stays_is_one_clear_error_and_leaves_no_half_file(hub, tmp_path, fault, said):
    hub.faults = [fault]
    with pytest.raises(HemlError, match=said) as raised:
        fetch(REPO, SHARDS)
    assert "\n" not in str(raised.value)
    assert "team/faces at 0123456789ab" in str(raised.value)
    for name in SHARDS:
        found = on_disk(REPO, name)
        assert found is None or found.read_bytes() == FILES[name]
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    hub.faults.clear()
    assert len(fetch(REPO, SHARDS)) == 2


def test_faults_of_the_hubs_own_protocol_are_waited_out_too(hub, monkeypatch):
    """It cannot be served here; all it raises is a RuntimeError."""
    real, failures = heml.fetch.snapshot_download, [RuntimeError("CAS service error\nmore")] * 2

    def fails(*arguments, **options):
        if failures:
            raise failures.pop()
        return real(*arguments, **options)

    monkeypatch.setattr("heml.fetch.snapshot_download", fails)
    assert len(fetch(REPO, SHARDS)) == 2
    failures.extend([RuntimeError("CAS service error\nmore")] * 9)
    with pytest.raises(HemlError, match=r"the download fails, 4 times over \(CAS service error\); try again later"):
        fetch(REPO, ["README.md", "none"])


def test_a_file_that_rots_in_the_cache_is_fetched_again(hub):
    (path, _) = fetch(REPO, SHARDS)
    path.resolve().write_bytes(FILES[SHARDS[0]][:-1] + b"?")
    (again, _) = fetch(REPO, SHARDS)
    assert again.read_bytes() == FILES[SHARDS[0]]


def test_small_files_are_held_against_gits_hash(hub):
    (path,) = fetch(REPO, ["README.md"])
    path.resolve().write_bytes(b"tampered")
    assert not heml.fetch._intact(path)
    assert fetch(REPO, ["README.md"])[0].read_bytes() == FILES["README.md"]


def test_offline_uses_what_is_there_and_names_what_is_not(hub, monkeypatch):
    (kept,) = fetch(REPO, SHARDS[:1])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = len(hub.requests)
    assert fetch(REPO, SHARDS[:1]) == [kept]
    assert list_files(REPO)
    with pytest.raises(
        HemlError,
        match=r"HF_HUB_OFFLINE is set and 1 of 2 files are not on this machine: data/train-\[0\]\.parquet; unset",
    ):
        fetch(REPO, SHARDS)
    with pytest.raises(HemlError, match="is not on this machine, and HF_HUB_OFFLINE is set"):
        list_files(Repo("team/other", COMMIT, "dataset"))
    assert len(hub.requests) == before


@pytest.mark.parametrize("path", ["../x.parquet", "/etc/x.parquet", "a/../../x.parquet"])
def test_a_list_that_leaves_its_folder_is_refused(hub, path):
    hub.add("dataset", "team/sly", COMMIT, {"README.md": b"", path: b"1"})
    with pytest.raises(HemlError, match="which would lie outside its folder; do not use it"):
        list_files(Repo("team/sly", COMMIT, "dataset"))


def test_no_hub_at_all_is_named(hub, tmp_path, monkeypatch):
    hub.close()
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    use_hub("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    with pytest.raises(HemlError, match=r"the hub at http://127\.0\.0\.1:9 cannot be reached"):
        list_files(REPO)
