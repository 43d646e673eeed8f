"""Version negotiation. All headers are optional; what a client does not send is not checked.

`Reactor-API-Version` is what the client speaks, `Reactor-API-Accept-Version` the oldest server it accepts,
`Reactor-WebRTC-Version` its signalling, `major.minor`. Clients turn 426 and 501 into errors of their own, so neither
is used for anything else.
"""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import ClientTooOld, InvalidRequest, ServerTooOld

API_VERSION = 1
OLDEST_API_VERSION = 1
WEBRTC_VERSION = "1.0"
WEBRTC_MAJOR = 1

_VERSION = re.compile(r"(\d{1,6})(?:\.\d{1,6}){0,2}", re.ASCII)
_SERVER_HEADERS = {"Reactor-API-Version": str(API_VERSION), "Reactor-WebRTC-Version": WEBRTC_VERSION}


class VersionHeaders:
    """Says on every answer which versions are served."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SERVER_HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


async def check_versions(
    reactor_api_version: Annotated[str | None, Header()] = None,
    reactor_api_accept_version: Annotated[str | None, Header()] = None,
    reactor_webrtc_version: Annotated[str | None, Header()] = None,
) -> None:
    """Dependency of the coordinator and signalling routes.

    Raises `ClientTooOld`, `ServerTooOld`, or `InvalidRequest` for a header that is no version.
    """
    if reactor_api_version is not None and _major("Reactor-API-Version", reactor_api_version) < OLDEST_API_VERSION:
        raise ClientTooOld(f"API version {OLDEST_API_VERSION} or newer is needed")
    if reactor_api_accept_version is not None:
        accepted = _major("Reactor-API-Accept-Version", reactor_api_accept_version)
        if accepted > API_VERSION:
            raise ServerTooOld(f"this server speaks API version {API_VERSION}")
    if reactor_webrtc_version is not None:
        _check_webrtc(_major("Reactor-WebRTC-Version", reactor_webrtc_version))


def _check_webrtc(major: int) -> None:
    if major < WEBRTC_MAJOR:
        raise ClientTooOld(f"WebRTC version {WEBRTC_VERSION} is needed")
    if major > WEBRTC_MAJOR:
        raise ServerTooOld(f"this server speaks WebRTC version {WEBRTC_VERSION}")


def _major(header: str, value: str) -> int:
    version = _VERSION.fullmatch(value.strip())
    if version is None:
        raise InvalidRequest(f"{header} is not a version")
    return int(version[1])
