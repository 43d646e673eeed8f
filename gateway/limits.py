"""A bound on request bodies, by their declared length and by what really arrives.

The bound lies inside the layers that add headers: FastAPI's own `max_body_size` answers outside them, and a browser
would see a failed CORS check instead of the 413.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import error_response


class BodyLimit:
    """Refuses a body of more than `max_bytes` with 413; under the path `streamed`, routes see to it themselves."""

    def __init__(self, app: ASGIApp, max_bytes: int, streamed: str) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. A chunked body is counted as it is read, and given up at the bound."""
        if scope["type"] != "http" or scope["path"].startswith(self.streamed):
            await self.app(scope, receive, send)
            return
        if self._declared_too_large(scope):
            await error_response(413, "body_too_large", self._detail)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(413, self._detail)
            return message

        await self.app(scope, counted, send)

    def _declared_too_large(self, scope: Scope) -> bool:
        declared = Headers(scope=scope).get("content-length", "")
        return declared.isascii() and declared.isdigit() and int(declared[:20]) > self.max_bytes

    @property
    def _detail(self) -> str:
        return f"the body is larger than {self.max_bytes} bytes"
