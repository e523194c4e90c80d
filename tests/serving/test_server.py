"""`heml serve`, asked over sockets: who is let in, what is refused, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT
from PIL import Image

from heml import cli
from heml.reporting.page import write_report
from heml.run import Run
from heml.serving.application import MOST_BYTES
from serving.servers import ready, start


@pytest.fixture(scope="module")
def server(servers):
    return servers["network"]


def test_the_page_and_its_headers(server):
    status, answer, page = server.ask("GET", server.path)
    assert status == 200
    assert b"Your photographs" in page
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    assert answer.getheader("Content-Security-Policy") == "frame-ancestors 'none'"
    assert answer.getheader("Set-Cookie") is None
    assert answer.getheader("Access-Control-Allow-Origin") is None
    policy = re.search(r'Content-Security-Policy"\s+content="([^"]*)"', page.decode())
    assert policy
    assert policy[1].startswith("default-src 'none';")
    assert policy[1].endswith("; connect-src 'self'")


def test_a_report_may_connect_to_nothing(network_run):
    from heml.params import load_params
    from heml.reporting.finished import Finished

    write_report(Finished.read(load_params(network_run / "params.yaml"), Run(network_run)))
    assert "connect-src" not in (network_run / "reports/index.html").read_text()


def test_it_is_bound_to_one_address(server):
    port = int(server.host.rpartition(":")[2])
    assert server.host.startswith("127.0.0.1:")
    with socket.create_connection(("127.0.0.1", port), 5):
        pass
    for other in ("127.0.0.2", socket.gethostbyname(socket.gethostname())):
        if other != "127.0.0.1":
            with pytest.raises(OSError), socket.create_connection((other, port), 5):
                pass


@pytest.mark.parametrize("path", ["/", "/wrong/", "/favicon.ico", "//", "/%00/", "*"])
def test_nothing_without_the_token(server, path):
    for method in ("GET", "POST", "OPTIONS"):
        status, answer, found = server.ask(method, path, Origin=f"http://{server.host}")
        assert status in (400, 403)
        assert b"Your photographs" not in found
        if status == 403:
            assert "token" in json.loads(found)["error"]
            assert answer.getheader("X-Content-Type-Options") == "nosniff"
    token = server.path.strip("/")
    assert len(token) >= 32
    for wrong in (token[:-1], token + "x", token.swapcase()):
        assert server.ask("GET", f"/{wrong}/")[0] == 403


def test_only_its_own_names_are_answered(server):
    port = server.host.rpartition(":")[2]
    assert server.ask("GET", server.path, Host=f"localhost:{port}")[0] == 200
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{int(port) + 1}",
        "localhost",
        f"[::1]:{port}",
        "",
    ):
        status, _, found = server.ask("GET", server.path, Host=host)
        assert status == 403
        assert "no other name" in json.loads(found)["error"]


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://{host}", "http://localhost:1"])
def test_only_the_page_itself_may_send(server, origin):
    given = {} if origin is None else {"Origin": origin.format(host=server.host)}
    for path in ("images?name=a", "pair?first=0&second=1"):
        status, _, found = server.ask("POST", server.path + path, b"x", **given)
        assert status == 403
        assert "only the served page" in json.loads(found)["error"]


def test_what_is_too_large_is_refused_as_it_comes(server):
    status, _, found = server.ask(
        "POST", f"{server.path}images?name=a", Origin=f"http://{server.host}", Content_Length=str(MOST_BYTES + 1)
    )
    assert status == 413
    assert json.loads(found)["error"] == "the file is larger than 20 MB; save it smaller"
    sent = 0

    def endless():
        nonlocal sent
        while True:
            sent += 1_000_000
            yield bytes(1_000_000)

    connection = http.client.HTTPConnection(server.host, timeout=60)
    with pytest.raises(OSError):  # it hangs up
        connection.request(
            "POST", f"{server.path}images?name=a", endless(), {"Origin": f"http://{server.host}"}, encode_chunked=True
        )  # fmt: skip
    assert MOST_BYTES <= sent < 3 * MOST_BYTES


def test_bad_photographs_are_one_message_each(server):
    buffer = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(buffer, "PNG")
    status, found = server.add(buffer.getvalue(), "huge.png")
    assert (status, list(found)) == (400, ["error"])
    assert found["error"].startswith("huge.png: 10000×6000 is 60 megapixels")
    status, found = server.add(b"GIF89a", "<b>.gif")
    assert status == 400
    assert found["error"].startswith("<b>.gif: not a readable")


@pytest.mark.parametrize(
    ("path", "status"),
    [("pair", 400), ("pair?first=0&second=x", 400), ("pair?first=0&second=99999", 400), ("else", 404), ("", 405)],
)
def test_what_is_no_question(server, path, status):
    assert server.post(path)[0] == status


def test_a_run_of_masks_takes_no_photograph_and_compares_its_own(servers, photographs):
    status, found = servers["masks"].add(photographs[0].read_bytes())
    assert status == 409
    assert found["error"] == "this run cannot find parts in new photographs"
    status, found = servers["masks"].post("pair?first=0&second=1")
    assert status == 200
    assert found["sentence"]


def test_twenty_at_once_are_all_answered_and_others_meanwhile(server, photographs):
    def ask(k):
        if k % 2:
            return server.post(f"pair?first={k}&second={k + 1}")
        return server.add(photographs[k % 4].read_bytes(), f"{k}.png")

    waits = []
    done = threading.Event()

    def look():
        while not done.is_set():
            began = time.perf_counter()
            assert server.ask("GET", server.path)[0] == 200
            waits.append(time.perf_counter() - began)

    with ThreadPoolExecutor(21) as pool:
        looking = pool.submit(look)
        found = list(pool.map(ask, range(20)))
        done.set()
        looking.result()
    assert [status for status, _ in found] == [200] * 20
    assert len({body["number"] for _, body in found if "number" in body}) == 10
    assert [body["image"]["id"] for _, body in found if "image" in body] == [f"{k}.png" for k in range(0, 20, 2)]
    assert max(waits) < 2


def test_nothing_is_written_and_nothing_logged(server, network_run, photographs):
    def state():
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size) for path in network_run.rglob("*") if path.is_file()
        }

    before = state()
    server.add(photographs[0].read_bytes(), "../../escaped.png")
    server.ask("GET", "/wrong-token/")
    assert state() == before
    assert not list(network_run.parent.rglob("escaped*"))
    assert sorted(path.name for path in server.errors.parent.iterdir()) == ["masks.txt", "network.txt"]
    assert server.errors.read_text() == ""


def test_an_interrupt_ends_it_at_once_whatever_it_does(network_run, tmp_path, request):
    """With ten large photographs waiting, no more than one is still looked at."""
    process = start(network_run, tmp_path / "errors.txt")
    request.addfinalizer(process.kill)
    server = ready(process, tmp_path / "errors.txt")
    idle = socket.create_connection(("127.0.0.1", int(server.host.rpartition(":")[2])), 5)
    pool = ThreadPoolExecutor(10)
    buffer = io.BytesIO()
    Image.new("1", (8_000, 6_000)).save(buffer, "PNG")
    began = time.perf_counter()
    assert server.add(buffer.getvalue())[0] == 200
    once = time.perf_counter() - began
    asked = [pool.submit(server.add, buffer.getvalue()) for _ in range(10)]
    time.sleep(once / 2)
    began = time.perf_counter()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert time.perf_counter() - began < 4 * once + 1
    idle.close()
    for one in asked:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):  # cut off
            assert one.result(10)[0] == 200
    assert process.stdout.read() == ""
    assert (tmp_path / "errors.txt").read_text() == ""


def test_a_port_that_is_taken(server, network_run, capsys):
    port = server.host.rpartition(":")[2]
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--root", str(network_run), "--port", port])
    assert (
        str(ended.value)
        == f"error: --port {port}: cannot be had (Address already in use); choose another, or 0 for any that is free"
    )
    for wrong in ("65536", "-1", "x", "9" * 5000):
        with pytest.raises(SystemExit):
            cli.main(["serve", f"--port={wrong}"])
        assert "expected a number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--root", str(ROOT)])
    assert str(ended.value) == f"error: {missing}: not installed, and this command needs it; pip install 'heml[serve]'"
