"""An output alone: pacing, sharing, joins, slow viewers. Viewers are read as an RTP sender would."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from cluster.media.feed import KEYFRAME_SPACING_S
from cluster.media.output import AudioOutput, VideoCodec, VideoOutput
from cluster.media.track import FAR_BEHIND_S, MAX_BEHIND_S, PacketTrack
from cluster.settings import MediaSettings
from tests.support.blocks import pictures
from tests.support.clock import FakeClock

pytestmark = pytest.mark.fast

FPS = 200


@pytest.fixture
async def output() -> AsyncIterator[VideoOutput]:
    output = VideoOutput("main_video", 320, 176, FPS, MediaSettings())
    yield output
    await output.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("encode-")]


async def read(track: PacketTrack, count: int) -> list:
    async with asyncio.timeout(20):
        return [await track.recv() for _ in range(count)]


async def test_viewers_share_the_packets_of_one_encoder_per_codec(output: VideoOutput) -> None:
    viewers = [output.viewer(VideoCodec.H264) for _ in range(3)] + [output.viewer(VideoCodec.VP8)]
    for viewer in viewers:
        viewer.resume()
    output.push(pictures(0, 29))
    first, second, third, vp8 = await asyncio.gather(*(read(viewer, 29) for viewer in viewers))
    assert all(a is b is c for a, b, c in zip(first, second, third, strict=True))
    assert all(later.pts > earlier.pts for earlier, later in itertools.pairwise(vp8))
    assert output.stats.pushed == output.stats.released == 29
    assert output.stats.encoded == {VideoCodec.H264: 29, VideoCodec.VP8: 29}


async def test_nothing_is_encoded_while_nobody_watches(output: VideoOutput) -> None:
    paused = output.viewer(VideoCodec.H264)
    output.push(pictures(0, 5))
    await output.wait_below(0)
    assert not paused.playing
    assert output.stats.released == 5
    assert output.stats.encoded == {}
    assert not [t for t in threading.enumerate() if t.name.startswith("encode-")]


async def test_pictures_pushed_from_another_thread_keep_their_order(output: VideoOutput) -> None:
    viewer = output.viewer(VideoCodec.VP8)
    viewer.resume()

    def engine() -> None:
        for chunk in range(5):
            output.push(pictures(chunk * 4, 4))

    reading = asyncio.create_task(read(viewer, 20))
    await asyncio.to_thread(engine)
    assert len(await reading) == 20


async def test_wait_below_returns_when_enough_has_been_released(output: VideoOutput) -> None:
    output.push(pictures(0, 20))
    assert output.queued_s == pytest.approx(20 / FPS)
    await output.wait_below(10 / FPS)
    assert output.queued_s <= 10 / FPS
    assert output.stats.released >= 10


async def test_flush_wakes_who_waits_and_drops_the_queue(output: VideoOutput) -> None:
    output.push(pictures(0, 20))
    waiting = asyncio.create_task(output.wait_below(0))
    await asyncio.sleep(0)
    output.flush()
    await waiting
    assert output.queued_s == 0
    assert output.stats.released < 20


async def test_who_joins_while_nothing_is_released_gets_the_last_picture(output: VideoOutput) -> None:
    output.push(pictures(0, 3))
    await output.wait_below(0)
    late = output.viewer(VideoCodec.H264)
    late.resume()
    packets = await read(late, 2)
    assert [packet.is_keyframe for packet in packets] == [True, False]
    assert output.stats.encoded == {}
    assert output.stats.repeated >= 2


async def test_a_viewer_begins_with_a_keyframe_after_every_pause(output: VideoOutput) -> None:
    steady, other = output.viewer(VideoCodec.VP8), output.viewer(VideoCodec.VP8)
    steady.resume()
    other.resume()
    output.push(pictures(0, 10))
    assert (await read(other, 10))[0].is_keyframe
    other.pause()
    other.resume()
    async with asyncio.timeout(20):
        assert (await other.recv()).is_keyframe


async def test_keyframes_on_request_keep_their_distance(clock: FakeClock) -> None:
    output = VideoOutput("main_video", 320, 176, FPS, MediaSettings(), clock=clock)
    viewer = output.viewer(VideoCodec.H264)
    viewer.resume()
    spacing = round(FPS * KEYFRAME_SPACING_S)
    output.push(pictures(0, 1).repeat(2 * spacing, axis=0))
    keys = []
    for n in range(2 * spacing):
        viewer.request_keyframe()
        (packet,) = await read(viewer, 1)
        keys += [n] * packet.is_keyframe
        clock.advance(1 / FPS + 1e-9)
    assert keys == [0, spacing]
    await output.close()


async def test_a_slow_viewer_skips_to_a_keyframe_and_stalls_nobody(output: VideoOutput) -> None:
    quick, slow = output.viewer(VideoCodec.H264), output.viewer(VideoCodec.H264)
    quick.resume()
    slow.resume()
    count = round(1.5 * FAR_BEHIND_S * FPS)
    reading = asyncio.create_task(read(quick, count))
    output.push(pictures(0, 1).repeat(count, axis=0))
    assert len(await reading) == count
    assert output.stats.viewer_drops >= MAX_BEHIND_S * FPS
    async with asyncio.timeout(20):
        assert (await slow.recv()).is_keyframe


async def test_the_last_viewer_takes_the_encoder_along(output: VideoOutput) -> None:
    viewer = output.viewer(VideoCodec.H264)
    viewer.resume()
    viewer.stop()
    with pytest.raises(MediaStreamError):
        await viewer.recv()
    output.push(pictures(0, 3))
    await output.wait_below(0)
    assert output.stats.encoded == {}


async def test_other_geometry_is_refused(output: VideoOutput) -> None:
    with pytest.raises(ValueError, match="main_video"):
        output.push(np.zeros((1, 100, 100, 3), np.uint8))


async def test_an_output_that_is_closed_takes_nothing_and_holds_nobody(output: VideoOutput) -> None:
    viewer = output.viewer(VideoCodec.H264)
    viewer.resume()
    output.push(pictures(0, 50))
    waiting = asyncio.create_task(output.wait_below(0))
    await asyncio.sleep(0)
    await output.close()
    await waiting
    output.push(pictures(0, 1))
    assert output.queued_s == 0
    assert viewer.readyState == "ended"


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (16_000, 1), (44_100, 2)])
async def test_audio_is_twenty_millisecond_packets_shared_by_its_viewers(rate: int, channels: int) -> None:
    audio = AudioOutput("main_audio")
    viewers = [audio.viewer(), audio.viewer()]
    for viewer in viewers:
        viewer.resume()
    tone = (8000 * np.sin(np.arange(rate // 4) / rate * 2 * np.pi * 440)).astype(np.int16)
    audio.push(np.repeat(tone[:, None], channels, axis=1), rate)
    first, second = await asyncio.gather(*(read(viewer, 10) for viewer in viewers))
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert min(later.pts - earlier.pts for earlier, later in itertools.pairwise(first)) >= 959
    await audio.close()


async def test_audio_of_another_type_is_refused() -> None:
    audio = AudioOutput("main_audio")
    with pytest.raises(ValueError, match="int16"):
        audio.push(np.zeros((10, 2), np.float32), 48_000)
    await audio.close()
