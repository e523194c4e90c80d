"""The routes: the page, a photograph, a pair. What computes does so in a thread of its own, so that others are answered
meanwhile."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from heml.errors import HemlError, out_of_memory
from heml.serving.explainer import Explainer, Forgotten
from heml.serving.guard import Guard

MOST_BYTES = 20_000_000
"""Of a photograph's file."""
AT_ONCE = 4
"""Photographs whose bytes are in memory at the same time; others wait to be read."""


def application(explainer: Explainer, page: str, token: str, port: int, worker: ThreadPoolExecutor) -> Guard:
    """An ASGI application that answers under `/<token>/`.

    Args:
        page: HTML.
        port: where it is bound, for the names by which it may be asked.
        worker: of one thread, in which the explainer works.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def work(do: Callable[..., dict[str, Any]], *arguments: Any) -> JSONResponse:
        return JSONResponse(await asyncio.get_running_loop().run_in_executor(worker, do, *arguments))

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    async def add(request: Request) -> Response:
        if not explainer.segments:
            raise HTTPException(409, "this run cannot find parts in new photographs")
        async with room:
            return await work(explainer.add, await _body(request), request.query_params.get("name", ""))

    async def explain(request: Request) -> Response:
        return await work(explainer.pair, _number(request, "first"), _number(request, "second"))

    routes = [Route("/", show), Route("/images", add, methods=["POST"]), Route("/pair", explain, methods=["POST"])]
    faults: dict[Any, Callable[[Request, Any], Any]] = {
        HTTPException: lambda request, error: _told(error.detail, error.status_code, error.headers),
        Forgotten: lambda request, error: _told(str(error), 410),
        HemlError: lambda request, error: _told(str(error), 400),
        Exception: _fault,
    }
    return Guard(Starlette(routes=[Mount(f"/{token}", routes=routes)], exception_handlers=faults), token, port)


async def _body(request: Request) -> bytes:
    """What was sent, as far as it is allowed."""
    too_large = HTTPException(
        413, f"the file is larger than {MOST_BYTES // 1_000_000} MB; save it smaller", {"Connection": "close"}
    )
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BYTES:
        raise too_large
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > MOST_BYTES:
            raise too_large
    return bytes(found)


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HTTPException(400, f"{name}: expected the number of an image")
    return int(text)


def _told(text: str, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)


def _fault(request: Request, error: Exception) -> JSONResponse:
    """A bug is told in the terminal."""
    if out_of_memory(error):
        return _told("memory ran out over this; try a smaller photograph", 503)
    traceback.print_exception(error)
    return _told("something went wrong in the server; its terminal says what", 500)
