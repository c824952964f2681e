"""Lets in only what the page of this server asks: nobody else on the network, no other page in the browser.

Every request must name this server as its host (a page whose name resolves to 127.0.0.1 does not), carry the cookie
that the token of this start buys, and come from this page: ports do not isolate cookies, so a page on another port of
this machine sends it too, and is told by its origin.
"""

import secrets
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 2**23 + 2**10  # one run-length string of the format's limit, and a little around it

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
READING = frozenset({"GET", "HEAD"})
BODIES = frozenset({"application/json", "application/octet-stream"})

# The cookie is strict: a browser that comes from elsewhere gets it here, but sends it only with the next request, which
# has to come from a page of this server. So the entrance is a page, and no redirect.
ENTRANCE = (
    '<!doctype html><meta charset="utf-8"><title>fusion-core view</title><link rel="icon" href="/assets/icon.svg">'
    '<meta http-equiv="refresh" content="0;url=/">'
)


class Guard:
    """ASGI middleware around the whole server.

    Args:
        app: what is guarded.
        port: of 127.0.0.1 on which the server listens.

    Attributes:
        token: whoever knows it may enter.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        self._app = app
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        self._cookie = f"view-{port}-{secrets.token_hex(4)}"  # not that of another server which had this port before
        self._secret = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})  # the page uses none
        answer = self._answer(scope["method"], scope["path"], scope["query_string"], Headers(scope=scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (answer or self._app)(scope, _bounded(receive), send_with_headers)

    def _answer(self, method: str, path: str, query: bytes, headers: Headers) -> Response | None:
        """What a request gets that must not reach the server: a refusal, or entrance; None lets it pass."""
        if not _single(headers.getlist("host"), self._hosts):
            return PlainTextResponse("Wrong host: open http://127.0.0.1 with the port of this server.", 421)
        if path == "/" and method == "GET" and (given := QueryParams(query).get("token")) is not None:
            return self._entrance(given)
        if not self._has_cookie(headers):
            return PlainTextResponse("Not let in: open the address that fusion-core view printed when it started.", 403)
        site = headers.get("sec-fetch-site")
        if method in READING:
            from_here = site in {None, "none", "same-origin"}
        else:
            from_here = site in {None, "same-origin"} and _single(headers.getlist("origin"), self._origins)
        if not from_here:
            return PlainTextResponse("Not let in: the request comes from another page.", 403)
        if method not in READING and headers.get("content-type") not in BODIES:
            return PlainTextResponse(f"Expected a body of type {' or '.join(sorted(BODIES))}.", 415)
        return None

    def _entrance(self, token: str) -> Response:
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return PlainTextResponse("Wrong token: every start of fusion-core view has its own.", 403)
        response = HTMLResponse(ENTRANCE)
        response.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict", path="/")
        return response

    def _has_cookie(self, headers: Headers) -> bool:
        for line in headers.getlist("cookie"):
            for pair in line.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == self._cookie and secrets.compare_digest(value.encode(), self._secret.encode()):
                    return True
        return False


def _single(values: list[str], allowed: Iterable[str]) -> bool:
    return len(values) == 1 and values[0] in allowed


def _bounded(receive: Receive) -> Receive:
    """Stops reading a body when it is larger than any that the page sends."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise HTTPException(413, f"Expected a body of at most {MAX_BODY} bytes.")
        return message

    return bounded
