"""What a viewer is given when it cannot take everything: a keyframe to go on with, or keyframes alone."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from cluster.media.encoder import VIDEO_CLOCK, Packet
from cluster.media.track import FAR_BEHIND_S, KEYFRAMES_ONLY_S, MAX_BEHIND_S, VideoTrack

pytestmark = pytest.mark.fast

FPS = 24


class Source:
    """Counts what a track asks of it."""

    bitrate = 1_000_000

    def __init__(self) -> None:
        self.keyframes = self.changes = 0

    def join(self, track: object) -> None: ...

    def leave(self, track: object) -> None: ...

    def request_keyframe(self) -> None:
        self.keyframes += 1

    def rates_changed(self) -> None:
        self.changes += 1


class Viewer:
    """A track, and a source that numbers its pictures."""

    def __init__(self) -> None:
        self.source = Source()
        self.dropped = 0
        self.track = VideoTrack(self.source, self._drop, ceiling=4_000_000, floor=600_000)
        self.track.resume()
        self._number = 0

    def _drop(self, packets: int) -> None:
        self.dropped += packets

    def deliver(self, seconds: float, *, keyframe: bool = False) -> None:
        """Pictures of a stretch, the first of them a keyframe if asked for."""
        for n in range(round(seconds * FPS)):
            self.track.deliver(self._packet(keyframe and n == 0))

    def _packet(self, keyframe: bool) -> Packet:
        packet = av.Packet(b"picture")
        packet.pts, packet.time_base = self._number * VIDEO_CLOCK // FPS, Fraction(1, VIDEO_CLOCK)
        packet.is_keyframe = keyframe
        self._number += 1
        return packet

    async def read(self) -> list[Packet]:
        """Everything that waits."""
        packets = []
        while self.track.waiting:
            packets.append(await self.track.recv())
        return packets


@pytest.fixture
def viewer() -> Viewer:
    viewer = Viewer()
    viewer.deliver(1 / FPS, keyframe=True)
    return viewer


async def test_a_viewer_behind_goes_on_at_the_keyframe_it_asks_for(viewer: Viewer) -> None:
    viewer.deliver(MAX_BEHIND_S + 2 / FPS)
    assert viewer.source.keyframes > 0
    assert viewer.dropped == 0, "until it comes, the old pictures are better than none"
    viewer.deliver(2 / FPS, keyframe=True)
    assert [p.is_keyframe for p in await viewer.read()] == [True, False]


async def test_a_viewer_far_behind_gets_nothing_until_the_keyframe(viewer: Viewer) -> None:
    viewer.deliver(FAR_BEHIND_S + 0.5)
    assert await viewer.read() == []
    viewer.deliver(1 / FPS, keyframe=True)
    assert len(await viewer.read()) == 1


async def test_a_keyframe_that_others_asked_for_drops_nothing(viewer: Viewer) -> None:
    viewer.deliver(0.1)
    viewer.deliver(0.1, keyframe=True)
    assert len(await viewer.read()) == 1 + 2 * round(0.1 * FPS)


async def test_below_the_floor_there_are_keyframes_only_and_few_of_them(viewer: Viewer) -> None:
    await viewer.read()
    viewer.track.follow(None)
    viewer.track.request_keyframe()
    viewer.deliver(KEYFRAMES_ONLY_S - 0.1)
    assert viewer.source.keyframes == 0, "its requests are everybody's cost"
    viewer.deliver(0.2)
    assert viewer.source.keyframes > 0
    viewer.deliver(1.0, keyframe=True)
    viewer.deliver(1.0, keyframe=True)
    assert [p.is_keyframe for p in await viewer.read()] == [True]


async def test_back_above_the_floor_it_goes_on_with_a_keyframe(viewer: Viewer) -> None:
    viewer.track.follow(None)
    viewer.deliver(0.5)
    await viewer.read()
    viewer.track.follow(700_000)
    assert viewer.source.keyframes == 1
    viewer.deliver(0.2)
    assert await viewer.read() == []
    viewer.deliver(0.2, keyframe=True)
    assert len(await viewer.read()) == round(0.2 * FPS)


async def test_the_source_is_told_of_another_rate_once(viewer: Viewer) -> None:
    viewer.track.follow(1_000_000)
    viewer.track.follow(1_000_000)
    assert (viewer.track.rate, viewer.source.changes) == (1_000_000, 1)
