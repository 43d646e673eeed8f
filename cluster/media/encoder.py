"""Pictures to packets: one thread per codec of an output, so that encoding never holds up the event loop.

The threads convert colours themselves, each with its own `VideoReformatter`: a frame that two threads reformat at once
hangs or crashes, as the scaler's state lives on the frame.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import av
import numpy as np
import structlog
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from cluster.settings import MediaSettings

logger = structlog.get_logger(__name__)

Picture = NDArray[np.uint8]
"""RGB, uint8 [height, width, 3], C-contiguous; not written to once handed over."""

Packet: TypeAlias = "av.Packet[Any]"

VIDEO_CLOCK = 90_000
TIME_BASE = Fraction(1, VIDEO_CLOCK)
NEVER = 1 << 24
"""Pictures between keyframes that nobody asked for."""
SAME_RATE = (0.85, 1.3)
"""A rate within these bounds of the one an encoder was opened with is not worth a new one."""
HEADROOM = 2
"""x264 can be asked for this much more than it was opened with."""
REOPEN_UP_S, REOPEN_DOWN_S = 3.0, 0.5
"""Encoders live at least this long before they are opened anew for a higher or a lower rate alone."""
_REFERENCE = 1280 * 704 * 24


class VideoCodec(StrEnum):
    """A codec that an output can be encoded with."""

    H264 = "H264"
    VP8 = "VP8"


@dataclass(frozen=True, slots=True)
class VideoShape:
    """Geometry of an output in pixels and pictures per second, and its highest and lowest encoder rate in bit/s."""

    width: int
    height: int
    fps: int
    bitrate: int
    min_bitrate: int

    @classmethod
    def of(cls, width: int, height: int, fps: int, settings: MediaSettings) -> VideoShape:
        """Scale the configured rate by pixels per second, with the configured floor."""
        scaled = settings.bitrate * width * height * fps // _REFERENCE
        return cls(width, height, fps, max(settings.min_bitrate, scaled), settings.min_bitrate)


class Job(NamedTuple):
    """A picture to encode. `timestamp` counts 1/90000 s."""

    picture: Picture
    timestamp: int
    keyframe: bool
    repeat: bool = False


def open_encoder(codec: VideoCodec, shape: VideoShape, bitrate: int) -> VideoCodecContext:
    """A context that answers every picture with one packet at once, at `bitrate` bit/s.

    Its time base is the nominal frame rate: rate control then sees a steady flow, also across pauses. Browsers read
    H.264 as BT.709 and VP8 as BT.601, so each gets its own matrix, and H.264 the tags as well.
    """
    name = "libx264" if codec is VideoCodec.H264 else "libvpx"
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = shape.width, shape.height, "yuv420p"
    context.framerate, context.time_base = Fraction(shape.fps), Fraction(1, shape.fps)
    context.bit_rate, context.gop_size, context.thread_count = bitrate, NEVER, 1
    context.color_range = ColorRange.MPEG
    if codec is VideoCodec.H264:
        context.profile = "Baseline"
        context.colorspace = context.color_primaries = context.color_trc = Colorspace.ITU709
        context.bit_rate = HEADROOM * bitrate
        context.options = _x264_options(bitrate)
        context.open()
        context.bit_rate = bitrate
    else:
        context.qmin, context.qmax = 2, 56
        context.options = _vp8_options(bitrate)
    return context


def _x264_options(bitrate: int) -> dict[str, str]:
    """Opened with `maxrate` equal to its rate, x264 stays at a constant rate through every change of it."""
    return {
        "preset": "superfast",
        "tune": "zerolatency",
        "forced-idr": "1",
        "maxrate": str(HEADROOM * bitrate),
        "bufsize": str(bitrate // 3),
    }


def _vp8_options(bitrate: int) -> dict[str, str]:
    """A fixed speed (`cpu-used` below 0): above 0 libvpx chooses one by the clock, and takes up to thrice the time."""
    return {
        "deadline": "realtime",
        "cpu-used": "-12",
        "lag-in-frames": "0",
        "minrate": str(bitrate),
        "maxrate": str(bitrate),
        "bufsize": str(bitrate // 2),
        "static-thresh": "1",
        "undershoot-pct": "100",
        "overshoot-pct": "15",
        "max-intra-rate": "450",
    }


class Encoder:
    """One codec's encoder thread. Everything but the thread's body runs in the loop that made it."""

    def __init__(
        self,
        codec: VideoCodec,
        shape: VideoShape,
        name: str,
        finished: Callable[[Encoder, Job, Packet | None], None],
    ) -> None:
        """`finished` is called in the loop for every job, in order; without a packet if the encoder failed."""
        self._codec = codec
        self._shape = shape
        self._finished = finished
        self.bitrate = shape.bitrate
        """What is asked of the encoder, in bit/s; may be set at any time."""
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._ended = asyncio.Event()
        self.backlog = 0
        """Jobs submitted and not finished."""
        self.took_s = 0.0
        """Of the job that was finished last."""
        self._thread = threading.Thread(target=self._run, name=f"encode-{codec}-{name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a picture."""
        self.backlog += 1
        self._jobs.put(job)

    def stop(self) -> None:
        """Let the thread end after what is queued."""
        self._jobs.put(None)

    async def join(self) -> None:
        """Wait for the thread's end, after `stop`."""
        await self._ended.wait()
        self._thread.join()

    def _run(self) -> None:
        session = _EncodingSession(self._codec, self._shape)
        while (job := self._jobs.get()) is not None:
            began = time.perf_counter()
            packet = session.encode(job, self.bitrate)
            if not self._post(self._done, job, packet, time.perf_counter() - began):
                return
        self._post(self._ended.set)

    def _post(self, call: Callable[..., None], *args: object) -> bool:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return False
        return True

    def _done(self, job: Job, packet: Packet | None, took_s: float) -> None:
        self.backlog -= 1
        self.took_s = took_s
        self._finished(self, job, packet)


class _EncodingSession:
    """The state of an encoder's thread."""

    def __init__(self, codec: VideoCodec, shape: VideoShape) -> None:
        self._codec = codec
        self._shape = shape
        self._matrix = Colorspace.ITU709 if codec is VideoCodec.H264 else Colorspace.ITU601
        self._reformatter = VideoReformatter()
        self._count = 0
        self._open(shape.bitrate)

    def _open(self, bitrate: int) -> None:
        self._context = open_encoder(self._codec, self._shape, bitrate)
        self._bitrate = bitrate
        self._opened_at = self._count

    def encode(self, job: Job, bitrate: int) -> Packet | None:
        """One packet, stamped with the job's timestamp; None (and a fresh context) if the encoder failed."""
        self._follow(bitrate, job.keyframe)
        try:
            packets = self._context.encode(self._convert(job))
        except av.FFmpegError as error:
            logger.error("encoder_failed", codec=self._codec, error=str(error))
            self._open(bitrate)
            return None
        if not packets:
            return None
        packet = packets[0]
        packet.pts = packet.dts = job.timestamp
        packet.time_base = TIME_BASE
        return packet

    def _follow(self, bitrate: int, keyframe: bool) -> None:
        """Encode at another rate. x264 takes it as it runs, but keeps the buffer that bounds single pictures; libvpx
        has to be opened anew, which makes a keyframe. Where a keyframe is due anyway, both are."""
        ratio = bitrate / self._bitrate
        if not SAME_RATE[0] <= ratio <= SAME_RATE[1]:
            least_s = 0.0 if keyframe or not self._count else REOPEN_UP_S if ratio > 1 else REOPEN_DOWN_S
            needed = self._codec is VideoCodec.VP8 or ratio > HEADROOM or keyframe
            if needed and self._count - self._opened_at >= least_s * self._shape.fps:
                self._open(bitrate)
        if self._codec is VideoCodec.H264:
            self._context.bit_rate = bitrate

    def _convert(self, job: Job) -> av.VideoFrame:
        rgb = av.VideoFrame.from_numpy_buffer(job.picture, format="rgb24")
        frame = self._reformatter.reformat(
            rgb, format="yuv420p", dst_colorspace=self._matrix, dst_color_range=ColorRange.MPEG, threads=1
        )
        frame.pts, frame.time_base = self._count, Fraction(1, self._shape.fps)
        self._count += 1
        if job.keyframe:
            frame.pict_type = PictureType.I
        return frame
