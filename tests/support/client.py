"""One small client of the public wire, for tests and benchmarks: HTTP, SDP and data channels, over aiortc.

    async with httpx.AsyncClient(base_url=url) as http:
        await (api := Api(http)).sign_in(key)
        async with await Client.create(api, "longlive-v2", on_frame=look) as client:
            await client.connect()
            client.peer.command("set_shot", {"prompt": "a red dune"})

`api` is the HTTP half (`tests.support.api`), `peer` the connection that stands now (`tests.support.rtc_client`), whose
options every peer of this client has.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Self

from tests.support.api import Api
from tests.support.rtc_client import RtcClient
from wire.frames import Command, FileUploaded, RequestClip, RequestRecording
from wire.http import FLAT_CONNECTION_ID

PING_S = 5.0
FLAT = {"channels": ("data",)}
"""Options of a peer on the flat path, whose clients know no `control`."""


class NoClip(Exception):
    """The server has no clip; the message is its reason."""


class Client:
    """A participant of a session. Its own session is deleted at the end, one that it has adopted stays."""

    def __init__(self, api: Api, session_id: str, *, owns: bool = False, **peer: Any) -> None:
        """Keywords are those of `RtcClient`."""
        self.api = api
        self.session_id = session_id
        self.connection_id = 0
        self.answered_at = 0.0
        """When the newest answer came, of `time.perf_counter`."""
        self._owns = owns
        self._options = peer
        self._peer: RtcClient | None = None
        self._former: list[RtcClient] = []
        self._pinging: asyncio.Task[None] | None = None

    @classmethod
    async def create(cls, api: Api, model: str, **peer: Any) -> Self:
        """A client with a session of its own, wherever that stands."""
        return cls(api, await api.create(model), owns=True, **peer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # --- connections

    @property
    def peer(self) -> RtcClient:
        """The peer of the newest connection."""
        assert self._peer is not None, "not connected yet"
        return self._peer

    async def connect(self, connection_id: int | None = None) -> None:
        """Wait for a worker and connect: on a new connection, on a known one, or on the flat path."""
        await self.api.ready(self.session_id)
        await self._connect(connection_id, again=False)

    async def reconnect(self, *, fresh: bool = False) -> None:
        """Connect anew on the same connection, or on a new one as the JavaScript SDK does. The former peer, which may
        be dead, is left as it is."""
        await self._connect(None if fresh else self.connection_id, again=True)

    async def _connect(self, connection_id: int | None, *, again: bool) -> None:
        if connection_id is None:
            connection_id = await self.api.create_connection(self.session_id)
        self.connection_id = connection_id
        if self._peer is not None:
            self._former.append(self._peer)
        flat = connection_id == FLAT_CONNECTION_ID
        peer = self._peer = RtcClient(**self._options, **(FLAT if flat else {}))
        answer = await self.api.exchange(self.session_id, connection_id, await peer.offer(), again=again)
        self.answered_at = time.perf_counter()
        await peer.accept(answer)
        for track in () if flat else peer.received:
            peer.notify("resume_track", track)
        if self._pinging is None:
            self._pinging = asyncio.create_task(self._ping())

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            if self.peer.is_open():
                self.peer.ping()

    # --- files and clips

    async def command_with(self, name: str, argument: str, data: bytes, mime_type: str) -> None:
        """Upload a file and send a command that has it as this argument."""
        reference = await self.api.upload(self.session_id, data, argument, mime_type)
        self.peer.write(FileUploaded(reference))
        self.peer.write(Command(name, {}, {argument: reference}))

    async def clip(self, seconds: float | None = None) -> bytes:
        """The file of the last seconds, or of the whole recording, once it is ready. Raises NoClip."""
        kind, data = await self.peer.ask(RequestRecording() if seconds is None else RequestClip(seconds))
        if kind != "clipReady":
            raise NoClip(data["reason"] if kind == "clipFailed" else data["error"]["message"])
        while (playlist := await self.api.playlist(data["playlist_url"])).status_code == 202:  # noqa: ASYNC110
            await asyncio.sleep(float(playlist.headers["Retry-After"]))
        return b"".join([part.content for part in await self.api.parts(playlist)])

    # --- the end

    async def close(self) -> None:
        """Close every peer, and the session if it is this client's own."""
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.wait([self._pinging])
        if self._owns:
            await self.api.delete(self.session_id)
        for peer in (*self._former, *([self._peer] if self._peer else [])):
            await peer.close()
