"""A run served on this machine alone, until it is interrupted."""

from __future__ import annotations

import contextlib
import gc
import secrets
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
import uvicorn

from heml.errors import HemlError
from heml.reporting.explorer import explorer
from heml.reporting.finished import Finished
from heml.reporting.page import render
from heml.serving.application import application
from heml.serving.explainer import Explainer
from heml.serving.front import front

ADDRESS = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """A socket of this machine's own address, which no other machine reaches.

    Args:
        port: 0: any that is free.

    Raises:
        HemlError: it is taken, or not allowed.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((ADDRESS, port))
        found.listen()
    except OSError as error:
        found.close()
        raise HemlError(
            f"--port {port}: cannot be had ({error.strerror}); choose another, or 0 for any that is free"
        ) from None
    return found


def serve(finished: Finished, port: int, ready: Callable[[str], None]) -> None:
    """Answer until interrupted.

    Args:
        ready: told the address once, when everything is loaded. It holds the token: who has it may ask.

    Raises:
        HemlError: the port cannot be had.
    """
    # one thread: networks this small are quicker so, and another core is left to answer
    with listen(port) as listening, ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as worker:
        data = explorer(finished)
        explainer = Explainer(finished, data)
        page = render(finished, data, front(explainer.segments))
        worker.submit(explainer.warm).result()
        bound, token = listening.getsockname()[1], secrets.token_urlsafe(24)
        config = uvicorn.Config(
            application(explainer, page, token, bound, worker),
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,  # it would hold the token
            log_config=None,
            log_level="critical",
            server_header=False,
            timeout_graceful_shutdown=0,  # nothing is lost
        )
        gc.freeze()  # what is loaded stays: nobody looks through it while it answers, nor when it ends
        ready(f"http://{ADDRESS}:{bound}/{token}/")
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
