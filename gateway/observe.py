"""One log line and one measurement per request, and the answer to failures that no error type describes.

Lines carry ids only: no bodies, no query strings, no headers, and of an unknown failure its type and stack, as its
message may quote what a client sent.
"""

from __future__ import annotations

import time
import traceback
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import error_response
from gateway.metrics import Metrics

CLIENT_CLOSED = 499
"""Status in logs and metrics of a request whose client was gone before the answer began."""

_QUIET_ROUTES = frozenset({"/health", "/ready"})
_log = structlog.get_logger(__name__)


class Observe:
    """Measures, logs, and turns an unknown failure into a 500 that says nothing about it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = CLIENT_CLOSED
        begun = time.monotonic()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self.metrics.in_flight.track_inprogress():
                await self.app(scope, receive, watched)
        except Exception as failure:  # the one place where an unknown failure becomes a typed answer
            self._failed(scope, failure)
            if status != CLIENT_CLOSED:
                raise  # half an answer is out; only the server can cut the connection
            await error_response(500, "internal_error", "internal error")(scope, receive, watched)
        finally:
            self._answered(scope, status, time.monotonic() - begun)

    def _failed(self, scope: Scope, failure: Exception) -> None:
        self.metrics.failed(route_of(scope))
        stack = "".join(traceback.format_tb(failure.__traceback__))
        _log.error("request_failed", error=type(failure).__qualname__, stack=stack, **_ids(scope))

    def _answered(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        self.metrics.answered(scope["method"], route, status, seconds)
        say = _log.debug if route in _QUIET_ROUTES and status < 400 else _log.info
        say("request", status=status, ms=round(seconds * 1000, 1), **_ids(scope))


def route_of(scope: Scope) -> str:
    """The route's template, so that neither labels nor logs grow with the ids; `other` where there is none."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else "other"


def _ids(scope: Scope) -> dict[str, Any]:
    found = {"method": scope["method"], "route": route_of(scope)}
    params = scope.get("path_params", {})
    found |= {name: params[name] for name in ("session_id", "connection_id") if name in params}
    tenant = scope.get("state", {}).get("tenant")
    return found | ({"tenant": tenant} if tenant else {})
