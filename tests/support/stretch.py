"""A bounded stretch of numbered pictures, played to clients over given ways, and what they saw of it."""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache

import av
import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from cluster.media.connection import Connection
from cluster.media.output import VideoOutput
from cluster.settings import MediaSettings
from tests.support import blocks
from tests.support.link import Link
from tests.support.received import WAIT_S, MediaFrame
from tests.support.rtc_client import RtcClient
from wire.http import FLAT_CONNECTION_ID

WIDTH, HEIGHT, FPS = 640, 352, 24
BITRATE = 4_000_000
"""What the pictures need to look good, and the most the output is encoded at."""
SETTINGS = MediaSettings(bitrate=BITRATE * 1280 * 704 // (WIDTH * HEIGHT))
FREEZE_S = 1 / FPS + 0.15
"""A gap longer than this is a freeze, as in WebRTC's statistics (`totalFreezesDuration`)."""
_AHEAD_S = 0.3
_CHUNK = 12
_TICK_S = 0.01


@cache
def _canvas() -> NDArray[np.uint8]:
    small = np.random.default_rng(0).integers(0, 256, (84, 240, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(small, format="rgb24")
    return frame.reformat(width=1920, height=672, interpolation="BICUBIC").to_ndarray()


@cache
def _grain() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 40, (17, HEIGHT, WIDTH, 3), dtype=np.uint8)


def picture(number: int) -> NDArray[np.uint8]:
    """A camera moving over a texture, with grain; hard enough to fill 4 Mbit/s."""
    x, y = int(600 + 590 * math.sin(number / 60)), int(150 + 140 * math.sin(number / 37))
    rgb = _canvas()[y : y + HEIGHT, x : x + WIDTH] // 4 * 3 + _grain()[number % 17]
    strip = blocks.BITS * blocks.SIDE
    rgb[: blocks.SIDE, :strip] = blocks.picture(number, strip, blocks.SIDE)
    return rgb


class Seen:
    """When each picture came out of the decoder, with its number."""

    def __init__(self) -> None:
        self.at: list[tuple[float, int]] = []

    def look(self, _: str, frame: MediaFrame) -> None:
        assert isinstance(frame, VideoFrame)
        luma = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)  # type: ignore[call-overload]
        self.at.append((time.monotonic(), blocks.number(luma)))


@dataclass(frozen=True, slots=True)
class Figures:
    """`shown` of `played` pictures; the sum of freezes in s; how late pictures were against the quickest, p95, in s."""

    played: int
    shown: int
    frozen_s: float
    late_p95_s: float

    @classmethod
    def of(cls, played: int, at: Sequence[tuple[float, int]]) -> Figures:
        gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(at)]
        due = [when - number / FPS for when, number in at]
        late = statistics.quantiles(due, n=20)[-1] - min(due) if len(due) > 1 else math.inf
        numbers = {number for _, number in at if number < played}
        return cls(played, len(numbers), sum(gap for gap in gaps if gap > FREEZE_S), late)


class Nobody:
    """A listener that does nothing."""

    def opened(self, connection: Connection) -> None: ...

    def message(self, connection: Connection, message: object) -> None: ...

    def closed(self, connection: Connection, reason: str) -> None: ...


Signalling = Callable[[RtcClient, Connection], Awaitable[None]]


def through(link: Link | None) -> Signalling:
    """Connect a client by way of a relay, or directly."""

    async def connect(client: RtcClient, connection: Connection) -> None:
        offer = await client.offer()
        if link is not None:
            offer = offer.model_copy(update={"sdp_offer": link.offer(offer.sdp_offer)})
        connection.offer(offer)
        answer = await connection.answer(WAIT_S)
        assert answer is not None
        await client.accept(link.answer(answer) if link is not None else answer)

    return connect


class Stalls:
    """How long the loop came too late in all, in s, while watched: what a busy machine adds to every freeze."""

    def __init__(self) -> None:
        self.total_s = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_TICK_S)
            late = time.monotonic() - before - _TICK_S
            self.total_s += late if late > _TICK_S else 0.0


class Stretch:
    """One output and its viewers. `join` them, then `play`, then `close`."""

    def __init__(self) -> None:
        self.output = VideoOutput("main_video", WIDTH, HEIGHT, FPS, SETTINGS)
        self._stalls = Stalls()
        self._clients: list[RtcClient] = []
        self._connections: list[Connection] = []

    @property
    def stalled_s(self) -> float:
        """How long the loop came too late while playing, in all."""
        return self._stalls.total_s

    async def join(self, codec: str, connect: Signalling) -> Seen:
        """A viewer that watches from the start: its connection is the flat one."""
        seen = Seen()
        client = RtcClient(codecs=(codec,), on_frame=seen.look)
        outputs = {"main_video": self.output}
        connection = Connection(FLAT_CONNECTION_ID, outputs=outputs, inputs={}, settings=SETTINGS, listener=Nobody())
        self._clients.append(client)
        self._connections.append(connection)
        await connect(client, connection)
        return seen

    async def play(self, seconds: float) -> int:
        """Play numbered pictures to whoever joined; returns how many."""
        watching = asyncio.create_task(self._stalls.watch())
        try:
            return await self._play(seconds)
        finally:
            watching.cancel()

    async def _play(self, seconds: float) -> int:
        count = round(seconds * FPS / _CHUNK) * _CHUNK
        for first in range(0, count, _CHUNK):
            self.output.push(np.stack([picture(first + i) for i in range(_CHUNK)]))
            await self.output.wait_below(_AHEAD_S)
            for client in self._clients:
                client.ping()
        await self.output.wait_below(0)
        await asyncio.sleep(1)  # what is still on the way
        return count

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        for connection in self._connections:
            await connection.close()
        await self.output.close()
