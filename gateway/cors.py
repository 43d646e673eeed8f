"""CORS for browser clients on any origin. Credentials are bearer tokens, never cookies, so `*` gives nothing away.

Starlette's middleware answers only to an `Origin` header, so a shared cache may hand a browser an answer without the
header; it leaves a plain `OPTIONS` to the routes (405) and refuses a preflight that asks for one header too many.
Here every answer carries the same headers and every `OPTIONS` is a 204: the browser compares the lists itself.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALLOWED_HEADERS = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Content-Digest",
    "Reactor-API-Key",
    "Reactor-API-Version",
    "Reactor-API-Accept-Version",
    "Reactor-WebRTC-Version",
)
"""Listed by name: a `*` does not cover `Authorization`."""

ALLOWED_METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS")
EXPOSED_HEADERS = ("Retry-After", "Reactor-API-Version", "Reactor-WebRTC-Version")
PREFLIGHT_MAX_AGE_S = 600

_EVERY_ANSWER = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": ", ".join(EXPOSED_HEADERS),
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": ", ".join(ALLOWED_METHODS),
    "Access-Control-Allow-Headers": ", ".join(ALLOWED_HEADERS),
    "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
}


class Cors:
    """Outermost layer: answers every `OPTIONS`, adds the headers to every other answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_EVERY_ANSWER)
            await send(message)

        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)
