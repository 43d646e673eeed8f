"""A client that measures: the numbers of pictures, and messages, with the times at which they came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from longlive import stamp
from tests.support.api import Api
from tests.support.client import Client
from tests.support.received import MediaFrame

MODEL = "longlive-v2"
FPS = 24
TIMEOUT_S = 30.0
PICTURES = 24
"""Of a chunk's 29 as many come, at least."""


def p95(values: Sequence[float]) -> float:
    """The value that one in twenty exceeds."""
    return sorted(values)[int(0.95 * (len(values) - 1))]


@asynccontextmanager
async def signed_in(url: str, key: str) -> AsyncIterator[Api]:
    """The public wire of a running cluster."""
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as http:
        api = Api(http)
        await api.sign_in(key)
        yield api


class Viewer(Client):
    """A client of `longlive-v2`, and what it has seen over all its peers. Times are of `time.perf_counter`."""

    def __init__(self, api: Api, session_id: str, *, owns: bool = False, codec: str | None = None, **peer: Any) -> None:
        """With a codec (`VP8`, `H264`), nothing else is offered; more keywords are those of `RtcClient`."""
        codecs = (codec,) if codec else ()
        peer |= {"codecs": codecs, "on_frame": self._picture, "on_message": self._message}
        super().__init__(api, session_id, owns=owns, **peer)
        self.messages: list[tuple[float, str, dict[str, Any]]] = []
        self.frames: list[tuple[float, int]] = []
        self._changed = asyncio.Event()

    def command(self, name: str, **data: Any) -> None:
        """Send a command."""
        self.peer.command(name, data)

    async def until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Return when the condition holds; TimeoutError after `limit_s` seconds without."""
        async with asyncio.timeout(limit_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def of_type(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        """Messages of one type with their times."""
        return [(at, data) for at, of, data in self.messages if of == kind]

    @property
    def chunks(self) -> list[int]:
        """Numbers of the session's chunks, as they were announced."""
        return [int(data["session_chunk"]) for _, data in self.of_type("chunk_complete")]

    async def plays(self, count: int) -> None:
        """So many more chunks come, with their pictures, to the peer that the client has."""
        before, pictures = len(self.chunks), len(self.frames)
        await self.until(lambda: len(self.chunks) >= before + count and len(self.frames) >= pictures + count * PICTURES)

    def _picture(self, _: str, frame: MediaFrame) -> None:
        number = stamp.read(frame.to_ndarray(format="rgb24"))
        if number is not None:
            self.frames.append((time.perf_counter(), number))
            self._changed.set()

    def _message(self, kind: str, data: dict[str, Any]) -> None:
        self.messages.append((time.perf_counter(), kind, data))
        self._changed.set()
