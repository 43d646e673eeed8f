"""Outbound audio: samples in, 20 ms Opus packets out, encoded once and shared. Silence is not sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from cluster.media.encoder import Packet
from cluster.media.pacer import Pacer
from cluster.media.track import PacketTrack

RATE = 48_000
FRAME = 960
"""Samples in 20 ms."""
BITRATE = 96_000
CATCH_UP_FRAMES = 16
"""Frames released in one go at most; more is due only after a stall, and the rest follows at once."""


class Resampler:
    """Any rate, mono or stereo, to 20 ms stereo frames at 48 kHz; what fills no frame waits for more."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._source: tuple[int, int] | None = None

    def frames(self, pcm: NDArray[np.int16], rate: int) -> list[NDArray[np.int16]]:
        """Frames, each int16 [960, 2], from `pcm`, int16 [n, channels].

        Raises:
            ValueError: not int16, or neither mono nor stereo.
        """
        if pcm.dtype != np.int16 or pcm.ndim != 2 or pcm.shape[1] not in (1, 2):
            raise ValueError("audio is int16 [n, 1] or [n, 2]")
        if not len(pcm):
            return []
        source = (rate, pcm.shape[1])
        if self._resampler is None or source != self._source:
            self._source = source
            self._resampler = av.AudioResampler(format="s16", layout="stereo", rate=RATE, frame_size=FRAME)
        layout = "stereo" if pcm.shape[1] == 2 else "mono"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = rate
        return [out.to_ndarray().reshape(-1, 2).astype(np.int16) for out in self._resampler.resample(frame)]

    def reset(self) -> None:
        """Forget the samples that wait."""
        self._resampler = None


class OpusEncoder:
    """Frames to packets whose `pts` counts 1/48000 s of the output's clock."""

    def __init__(self) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.bit_rate, context.sample_rate = BITRATE, RATE
        context.format, context.layout = "s16", "stereo"
        context.time_base = Fraction(1, RATE)
        self._context = context
        self._samples = 0

    def encode(self, pcm: NDArray[np.int16], timestamp: int) -> list[Packet]:
        """Encode one frame, int16 [960, 2]."""
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._samples, Fraction(1, RATE)
        self._samples += len(pcm)
        packets = self._context.encode(frame)
        for packet in packets:
            packet.pts = packet.dts = timestamp
            packet.time_base = Fraction(1, RATE)
        return packets


class AudioOutput:
    """One outbound audio track of a session. Make it inside the running loop; `push` may be called from any thread."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._epoch = clock()
        self._loop = asyncio.get_running_loop()
        self._resampler = Resampler()
        self._pacer: Pacer[NDArray[np.int16]] = Pacer(RATE / FRAME, clock)
        self._encoder: OpusEncoder | None = None
        self._playing: set[PacketTrack] = set()
        self._viewers: list[PacketTrack] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.viewer_drops = 0

    def push(self, pcm: NDArray[np.int16], rate: int) -> None:
        """Accept samples, int16 [n, channels] at `rate` Hz, mono or stereo.

        Raises:
            ValueError: not int16, or neither mono nor stereo.
        """
        if self._closed:
            return
        self._pacer.push(self._resampler.frames(pcm, rate))
        self._loop.call_soon_threadsafe(self._drive)

    @property
    def queued_s(self) -> float:
        """Seconds of samples accepted and not yet released."""
        return self._pacer.queued_s

    def flush(self) -> None:
        """Drop what is queued."""
        self._pacer.flush()
        self._resampler.reset()

    def viewer(self) -> PacketTrack:
        """A track that reads this output; starts paused."""
        track = PacketTrack("audio", self, self._count_drops)
        self._viewers = [viewer for viewer in self._viewers if viewer.readyState == "live"]
        self._viewers.append(track)
        return track

    def join(self, track: PacketTrack) -> None:
        """Serve a track."""
        self._playing.add(track)

    def leave(self, track: PacketTrack) -> None:
        """Stop serving a track; with the last one the encoder goes."""
        self._playing.discard(track)
        if not self._playing:
            self._encoder = None

    async def close(self) -> None:
        """End every viewer's track."""
        self._closed = True
        self._pacer.flush()
        if self._timer is not None:
            self._timer.cancel()
        for viewer in self._viewers:
            viewer.stop()

    def _drive(self) -> None:
        if self._closed:
            return
        for pcm, due in self._pacer.release(CATCH_UP_FRAMES):
            self._send(pcm, due)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay = self._pacer.wait_s
        if delay is not None:
            self._timer = self._loop.call_later(delay, self._drive)

    def _send(self, pcm: NDArray[np.int16], due: float) -> None:
        if not self._playing:
            return
        if self._encoder is None:
            self._encoder = OpusEncoder()
        for packet in self._encoder.encode(pcm, int((due - self._epoch) * RATE)):
            for viewer in tuple(self._playing):
                viewer.deliver(packet)

    def _count_drops(self, packets: int) -> None:
        self.viewer_drops += packets
