"""The HTTP half of a client: tokens, sessions, signalling, files and clips, as the published clients ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
from aiortc import RTCIceServer

from wire.frames import UploadReference
from wire.http import FLAT_CONNECTION_ID, IceServer, IceServers, SdpAnswer, SdpOffer, Session, SessionState
from wire.uploads import CreateUpload, UploadSlot

LOOK_EVERY_S = 0.05
OVER = (SessionState.CLOSED, SessionState.INACTIVE)


class Event(NamedTuple):
    """What has changed (`state`, `queue`, `worker`), and the session now."""

    name: str
    session: Session


class Api:
    """Over any httpx client with a base URL. Refusals raise httpx.HTTPStatusError."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def sign_in(self, key: str, **request: Any) -> None:
        """Have every later request carry a token of this API key; keywords are the members of `TokenRequest`."""
        headers = {"Reactor-API-Key": key}
        token = (await self._call("POST", "/tokens", request or None, headers)).json()
        self.http.headers["Authorization"] = f"Bearer {token['jwt']}"

    # --- sessions

    async def create(self, model: str, **more: Any) -> str:
        """The id of a new session; keywords are other members of `CreateSession`."""
        return (await self._session("POST", "/sessions", {"model": {"name": model}, **more})).session_id

    async def session(self, session_id: str) -> Session:
        return await self._session("GET", f"/sessions/{session_id}")

    async def ready(self, session_id: str) -> Session:
        """The session once it can be connected to. Raises RuntimeError if it is over instead."""
        while (session := await self.session(session_id)).capabilities is None or session.selected_transport is None:
            if session.state in OVER:
                raise RuntimeError(f"session {session_id} is {session.state}")
            await asyncio.sleep(LOOK_EVERY_S)
        return session

    async def events(self, session_id: str) -> AsyncIterator[Event]:
        """The session as it is, and at every change until it is over. Not over an in-process transport."""
        name = ""
        async with self.http.stream("GET", f"/sessions/{session_id}/events") as answer:
            if answer.is_error:
                await answer.aread()
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield Event(name, Session.model_validate_json(value))

    async def restart(self, session_id: str) -> Session:
        """Wake an INACTIVE session."""
        return await self._session("PUT", f"/sessions/{session_id}")

    async def delete(self, session_id: str, reason: str | None = None) -> None:
        await self._call("DELETE", f"/sessions/{session_id}", {"reason": reason} if reason else None)

    async def _session(self, method: str, path: str, body: Any = None) -> Session:
        return Session.model_validate_json((await self._call(method, path, body)).content)

    # --- signalling

    async def ice_servers(self, session_id: str) -> list[RTCIceServer]:
        reply = await self._call("GET", f"{_transport(session_id)}/ice_servers")
        return [_as_aiortc(server) for server in IceServers.model_validate_json(reply.content).ice_servers]

    async def create_connection(self, session_id: str) -> int:
        reply = await self._call("POST", f"{_transport(session_id)}/connections")
        assert reply.status_code == 201
        connection_id: int = reply.json()["connection_id"]
        return connection_id

    async def exchange(self, session_id: str, connection_id: int, offer: SdpOffer, *, again: bool = False) -> str:
        """The answer to an offer on a connection, the flat one included; `again` when its client had a peer before."""
        named = "" if connection_id == FLAT_CONNECTION_ID else f"/connections/{connection_id}"
        path = f"{_transport(session_id)}{named}/sdp_params"
        accepted = await self._call("PUT" if again else "POST", path, offer.model_dump())
        assert accepted.status_code == 202
        while (answer := await self._call("GET", path)).status_code == 202:
            pass  # the poll is held
        return SdpAnswer.model_validate_json(answer.content).sdp_answer

    # --- files and clips

    async def upload(self, session_id: str, data: bytes, name: str, mime_type: str) -> UploadReference:
        """Put a file in place; the reference is what a command refers to it by."""
        body = CreateUpload(name=name, size=len(data), mime_type=mime_type).model_dump()
        reply = await self._call("POST", f"/sessions/{session_id}/uploads", body)
        slot = UploadSlot.model_validate_json(reply.content)
        await self._call_by_url("PUT", slot.presigned_url, data, {"Content-Type": mime_type})
        return UploadReference(slot.presigned_id, name, mime_type, len(data))

    async def playlist(self, url: str) -> httpx.Response:
        """The playlist of a clip, from its `playlist_url`: 200, or 202 with `Retry-After` while it is not ready."""
        return await self._call("GET", url)

    async def parts(self, playlist: httpx.Response) -> list[httpx.Response]:
        """The initialisation and the segments, fetched without the token; together they are the file."""
        lines = playlist.text.splitlines()
        init = next(line for line in lines if line.startswith("#EXT-X-MAP")).split('"')[1]
        uris = [init, *(line for line in lines if line and not line.startswith("#"))]
        return [await self._call_by_url("GET", str(playlist.url.join(uri))) for uri in uris]

    async def _call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        reply = await self.http.request(method, path, json=body, headers=headers)
        return reply.raise_for_status()

    async def _call_by_url(
        self, method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Without the token: the URL is the permission."""
        request = self.http.build_request(method, url, content=data, headers=headers)
        request.headers.pop("Authorization", None)
        return (await self.http.send(request)).raise_for_status()


def _as_aiortc(server: IceServer) -> RTCIceServer:
    secret = server.credentials
    return RTCIceServer(server.uris, *((secret.username, secret.password) if secret else ()))


def _transport(session_id: str) -> str:
    return f"/sessions/{session_id}/transport/webrtc"
