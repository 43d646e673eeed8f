"""One session of a contestant, and what its viewers and its processes say of it."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time

import numpy as np
from av import VideoFrame

from benchmarks.peers.contestants import Contestant
from benchmarks.peers.crowd import Crowd
from benchmarks.peers.figures import ALIKE, Figures
from benchmarks.peers.model import NAME
from benchmarks.peers.pictures import BITRATE, FPS, mark
from benchmarks.peers.processes import Unavailable
from benchmarks.viewer import p95
from tests.support.client import Client
from tests.support.received import MediaFrame
from tests.support.stretch import FREEZE_S

WARM_S, WARM_AT_MOST_S = 2.0, 15.0
"""After the last viewer has connected: keyframes for those who joined. Then, for a while, until the rate is there."""
FIRST_S = 20.0


class Probe:
    """The viewer that decodes: when each picture came, of `time.monotonic`, and its age in ms."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []
        self.first = asyncio.Event()

    def look(self, _: str, frame: MediaFrame) -> None:
        assert isinstance(frame, VideoFrame)
        luma = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)
        now = time.monotonic()
        if (found := mark(luma)) is not None:
            self.seen.append((now, found.age_ms(now)))
            self.first.set()


async def measure(contestant: Contestant, codec: str, viewers: int, seconds: float) -> Figures:
    """A session with so many viewers, of whom the first decodes: from asking for it on, and `seconds` in its midst."""
    probe = Probe()
    async with contestant.address.api() as api:
        asked = time.monotonic()
        session_id = await api.create(NAME)
        async with Client(api, session_id, owns=True, codecs=(codec,), on_frame=probe.look) as client:
            await client.connect()
            connected_s = time.monotonic() - asked
            await asyncio.wait_for(probe.first.wait(), FIRST_S)
            first_s = probe.seen[0][0] - asked
            async with Crowd.gathered(contestant.address, session_id, codec, viewers - 1) as crowd:
                await _warm(client)
                return await _watch(contestant, probe, client, crowd, seconds, (connected_s, first_s))


async def _warm(client: Client) -> None:
    """Senders that were careful at first, or shy of a busy moment, would else be cheaper than others."""
    await asyncio.sleep(WARM_S)
    deadline = time.monotonic() + WARM_AT_MOST_S
    while time.monotonic() < deadline:
        before = await _received(client)
        await asyncio.sleep(1)
        if (await _received(client) - before) * 8 >= ALIKE * BITRATE:
            return


async def _watch(
    contestant: Contestant, probe: Probe, client: Client, crowd: Crowd, seconds: float, began_s: tuple[float, float]
) -> Figures:
    pictures, received, cpu = await crowd.pictures(), await _received(client), contestant.cpu_s()
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    lasted = time.monotonic() - begun
    media, everything = (now - before for now, before in zip(contestant.cpu_s(), cpu, strict=True))
    crowds = [now - before for now, before in zip(await crowd.pictures(), pictures, strict=True)]
    seen = [(at, age) for at, age in probe.seen if begun <= at < begun + lasted]
    if not seen:
        raise Unavailable(f"no picture came for {lasted:.0f} s")
    counts = [len(seen), *crowds]
    video_s = statistics.fmean(counts) / FPS
    ages = [age for _, age in seen]
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(seen)]
    return Figures(
        cpu=media / video_s,
        cpu_all=everything / video_s,
        fps=statistics.median(counts) / lasted,
        least_fps=min(counts) / lasted,
        mbit_s=(await _received(client) - received) * 8 / lasted / 1e6,
        age_p50_ms=statistics.median(ages),
        age_p95_ms=p95(ages),
        frozen_s=sum(gap for gap in gaps if gap > FREEZE_S) * 60 / lasted,
        connected_ms=1000 * began_s[0],
        first_ms=1000 * began_s[1],
    )


async def _received(client: Client) -> int:
    """Bytes that a viewer has received, by its transport."""
    report = await client.peer.pc.getReceivers()[0].getStats()
    received: int = next(each.bytesReceived for each in report.values() if each.type == "transport")
    return received
