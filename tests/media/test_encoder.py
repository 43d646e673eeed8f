"""What the encoders make is what decoders see: numbers, colours, keyframes, rates."""

from __future__ import annotations

import asyncio

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace, VideoReformatter

from cluster.media.encoder import Encoder, Job, VideoCodec, VideoShape
from cluster.settings import MediaSettings
from tests.support import blocks

pytestmark = pytest.mark.fast

SHAPE = VideoShape.of(320, 176, 24, MediaSettings())
DECODER = {VideoCodec.H264: "h264", VideoCodec.VP8: "libvpx"}
MATRIX = {VideoCodec.H264: Colorspace.ITU709, VideoCodec.VP8: Colorspace.ITU601}
codecs = pytest.mark.parametrize("codec", list(VideoCodec))


async def encode(codec: VideoCodec, jobs: list[Job], shape: VideoShape = SHAPE) -> list[av.Packet]:
    packets: list[av.Packet] = []
    finished = asyncio.Event()

    def take(_: Encoder, job: Job, packet: av.Packet | None) -> None:
        assert packet is not None
        packets.append(packet)
        if len(packets) == len(jobs):
            finished.set()

    encoder = Encoder(codec, shape, "test", take)
    for job in jobs:
        encoder.submit(job)
    assert encoder.backlog == len(jobs)
    await finished.wait()
    assert encoder.backlog == 0
    encoder.stop()
    await encoder.join()
    return packets


def decode(codec: VideoCodec, packets: list[av.Packet]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create(DECODER[codec], "r")
    return [frame for packet in packets for frame in decoder.decode(packet)]


def rgb(codec: VideoCodec, frame: av.VideoFrame) -> np.ndarray:
    return VideoReformatter().reformat(frame, format="rgb24", src_colorspace=MATRIX[codec], threads=1).to_ndarray()


@codecs
async def test_every_picture_is_one_packet_with_its_own_time(codec: VideoCodec) -> None:
    jobs = [Job(blocks.picture(n), 1000 + n * 3750, n == 10) for n in range(20)]
    packets = await encode(codec, jobs)
    assert [p.pts for p in packets] == [job.timestamp for job in jobs]
    assert {n for n, p in enumerate(packets) if p.is_keyframe} == {0, 10}
    assert [blocks.number(rgb(codec, f)) for f in decode(codec, packets)] == list(range(20))


@codecs
async def test_a_keyframe_can_be_decoded_alone(codec: VideoCodec) -> None:
    packets = await encode(codec, [Job(blocks.picture(n), n, n == 5) for n in range(8)])
    assert [blocks.number(rgb(codec, f)) for f in decode(codec, packets[5:])] == [5, 6, 7]


@codecs
async def test_colours_arrive_as_they_were(codec: VideoCodec) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (30, 120, 200), (200, 180, 40), (0, 0, 0)]
    patches = np.zeros((176, 320, 3), np.uint8)
    for i, colour in enumerate(colours):
        patches[:, i * 40 : i * 40 + 40] = colour
    packets = await encode(codec, [Job(patches, n, False) for n in range(10)])
    seen = rgb(codec, decode(codec, packets)[-1])
    for i, colour in enumerate(colours):
        error = np.abs(seen[20:150, i * 40 + 12 : i * 40 + 28].reshape(-1, 3).mean(0) - colour)
        assert error.max() <= 8, (colour, error)


async def test_h264_is_constrained_baseline_tagged_bt709() -> None:
    packets = await encode(VideoCodec.H264, [Job(blocks.picture(0), 0, False)])
    frame = decode(VideoCodec.H264, packets)[0]
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
    data = bytes(packets[0])
    sps = data.index(b"\x67")
    assert data[sps + 1] == 66
    assert data[sps + 2] & 0x40, "constraint_set1: no tools beyond the constrained profile"


@codecs
async def test_the_rate_is_near_what_was_asked(codec: VideoCodec) -> None:
    noise = np.random.default_rng(0)
    pictures = [blocks.picture(n) // 2 + noise.integers(0, 100, (176, 320, 3), dtype=np.uint8) for n in range(72)]
    packets = await encode(codec, [Job(p, n, False) for n, p in enumerate(pictures)])
    rate = sum(p.size for p in packets) * 8 / (len(packets) / SHAPE.fps)
    assert 0.5 * SHAPE.bitrate < rate < 1.6 * SHAPE.bitrate


def test_the_rate_scales_with_pixels_per_second_and_has_a_floor() -> None:
    settings = MediaSettings(bitrate=4_000_000, min_bitrate=600_000)
    assert VideoShape.of(1280, 704, 24, settings).bitrate == 4_000_000
    assert VideoShape.of(1280, 704, 12, settings).bitrate == 2_000_000
    assert VideoShape.of(320, 176, 24, settings).bitrate == 600_000


@codecs
async def test_the_rate_can_be_changed_while_encoding(codec: VideoCodec) -> None:
    shape = VideoShape(320, 176, 24, 1_600_000, 100_000)
    grain = np.random.default_rng(0).integers(0, 100, (12, 176, 320, 3), dtype=np.uint8)
    packets: asyncio.Queue[av.Packet] = asyncio.Queue()

    def take(_: Encoder, job: Job, packet: av.Packet | None) -> None:
        assert packet is not None
        packets.put_nowait(packet)

    encoder = Encoder(codec, shape, "test", take)
    rates = []
    for bitrate in (1_600_000, 500_000, 1_200_000):
        encoder.bitrate = bitrate
        for n in range(96):
            encoder.submit(Job(grain[n % 12], n, False))
        sizes = [(await packets.get()).size for _ in range(96)]
        rates.append(sum(sizes[48:]) * 8 / 2 / bitrate)
    encoder.stop()
    await encoder.join()
    assert rates == pytest.approx([1, 1, 1], abs=0.25)
