"""Who may ask: requests to this machine's own name, with the token, and from the page itself where they carry
something."""

from __future__ import annotations

from secrets import compare_digest

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer. The page brings the rest of its policy itself."""


class Guard:
    """Stands before an application and lets nothing through that was not asked for by whoever has the address that was
    printed.

    A page elsewhere whose name was made to lead here (DNS rebinding) brings its own Host; a form or script elsewhere
    brings its own Origin, or none; another user of this machine lacks the token.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse before the body is read."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self.refusal(scope)
        # no body is waited for
        answer = self.app if refusal is None else JSONResponse({"error": refusal}, 403, {"Connection": "close"})
        await answer(scope, receive, guarded)

    def refusal(self, scope: Scope) -> str | None:
        """Why a request is refused; None where it is not."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return f"open it as http://{self.hosts[0]}: no other name is answered"
        token = scope["path"].removeprefix("/").partition("/")[0]
        if not compare_digest(token.encode(), self.token.encode()):
            return "the address lacks the token, or has another; open the whole address that heml serve printed"
        if scope["method"] not in ("GET", "HEAD") and origins != [f"http://{hosts[0]}"]:
            return "only the served page itself may send something"
        return None
