"""Tees an output's packets into a recording: cuts them at keyframes into segments, has those muxed and kept.

Time in a recording is media time, pictures over frame rate: a pause takes none. A segment is closed when it is full,
when nothing has come for a while, and when a clip is asked for, so that a clip is ready at once.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import av
import structlog

from cluster import metrics
from cluster.clips import Segment, select
from cluster.media.cmaf import mux
from cluster.media.encoder import Packet
from cluster.media.recording import Recording

log = structlog.get_logger(__name__)

SEGMENT_S = 4
KEYFRAME_EVERY_S = 2
MIN_SEGMENT_S = 0.5
"""Clips asked for in quick succession do not cut the recording into pieces smaller than this."""
IDLE_S = 2.0
"""A segment is closed when no picture has come for so long."""
MAX_WAITING_S = 20
"""How much may wait for the disk; a recording that falls further behind is given up."""
MAX_LINES = 256
"""Lines of the sidecar that wait for a segment to be written with."""
NOTHING_YET = "no media generated yet"
CRASHED = "recorder disabled or encoder crashed"


class ClipRefused(Exception):
    """There is no such clip; the text is one that the published clients know."""


class Stretch(NamedTuple):
    """A clip in seconds of media time, and how long the recording is."""

    start_s: float
    end_s: float
    now_s: float


class _Batch(NamedTuple):
    """What is written together: the packets of a segment, if there are any, and lines of the sidecar."""

    first: int
    packets: list[Packet]
    lines: list[bytes]


class Recorder:
    """One per recorded session. Everything is called in the loop; `due` and `take` by the feed, once per picture."""

    def __init__(self, recording: Recording, fps: int, window_s: float) -> None:
        self.recording = recording
        self.asked = recording.keep_all
        """Whether anybody wants it to be kept when the session is over."""
        self.failed = False
        self._fps = fps
        self._window_s = window_s
        self._group = KEYFRAME_EVERY_S * fps
        self._packets: list[Packet] = []
        self._lines: list[bytes] = []
        self._first = self._waiting = 0
        self._submitted = self._taken = 0
        self._until_keyframe = 0
        self._broken = self._lost = True
        self._closing = False
        self._idle: asyncio.TimerHandle | None = None
        self._seen = 0
        self._loop = asyncio.get_running_loop()
        self._batches: asyncio.Queue[_Batch | None] = asyncio.Queue()
        self._writing = self._loop.create_task(self._write_all())

    # --- pictures ---------------------------------------------------------------------------------------------------

    def due(self, *, repeat: bool) -> bool:
        """A picture is going to be encoded: whether it has to be a keyframe.

        One that was shown before is not recorded, so the next new one must not refer to it.
        """
        self._submitted += 1
        if repeat:
            self._broken = True
            return False
        keyframe = self._broken or self._until_keyframe <= 0
        if keyframe:
            self._broken, self._until_keyframe = False, self._group
        self._until_keyframe -= 1
        return keyframe

    def take(self, packet: Packet | None, *, repeat: bool) -> None:
        """What came of the pictures, in their order; None if the encoder failed."""
        self._taken += 1
        if packet is None:
            self._broken = self._lost = True
        elif not (repeat or self.failed):
            self._append(packet)
        self._close_if_due()

    def _append(self, packet: Packet) -> None:
        if packet.is_keyframe:
            self._lost = False
            if self._closing or len(self._packets) + self._group > SEGMENT_S * self._fps:
                self._cut()
        elif self._lost:
            return
        self._packets.append(packet)
        if self._idle is None:
            self._watch(IDLE_S)

    @property
    def now_s(self) -> float:
        """How long the recording is."""
        return (self._first + len(self._packets)) / self._fps

    # --- segments ---------------------------------------------------------------------------------------------------

    def close_segment(self) -> None:
        """Close the segment that is being filled as soon as it may be, not only when it is full."""
        if self._packets and not self._closing:
            self._closing = True
            self._close_if_due()
            if self._closing:
                self._watch(MIN_SEGMENT_S)

    def _close_if_due(self) -> None:
        """Between keyframes only where no picture is with the encoder: it would refer to what is closed."""
        enough = len(self._packets) >= MIN_SEGMENT_S * self._fps
        if self._closing and enough and self._taken == self._submitted:
            self._cut()
            self._broken = self._lost = True

    def _watch(self, delay_s: float) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._seen = self._submitted
        self._idle = self._loop.call_later(delay_s, self._look)

    def _look(self) -> None:
        """Whether there was nothing to encode since the last look."""
        self._idle = None
        if self._packets and self._seen == self._taken == self._submitted:
            self._cut()
            self._broken = self._lost = True
        elif self._packets:
            self._watch(IDLE_S)

    def _cut(self) -> None:
        self._closing = False
        packets, self._packets = self._packets, []
        if packets:
            self._put(packets)

    def _put(self, packets: list[Packet]) -> None:
        lines, self._lines = self._lines, []
        self._waiting += len(packets)
        if self._waiting > MAX_WAITING_S * self._fps:
            self._fail("the disk does not keep up")
        else:
            self._batches.put_nowait(_Batch(self._first, packets, lines))
            self._first += len(packets)

    # --- clips ------------------------------------------------------------------------------------------------------

    def clip(self, duration_s: float | None) -> Stretch:
        """The last seconds of the recording, no more than the window; None is all that there is, kept from now on.

        Raises:
            ClipRefused: there is nothing to make a clip of.
        """
        if self.failed:
            raise ClipRefused(CRASHED)
        now_s = self.now_s
        if not now_s:
            raise ClipRefused(NOTHING_YET)
        segments = self.recording.segments
        start_s = segments[0].start_s if segments else 0.0
        if duration_s is None:
            self.recording.keep_all = True
        else:
            start_s = max(start_s, now_s - min(duration_s, self._window_s))
        self.asked = True
        self.close_segment()
        return Stretch(start_s, now_s, now_s)

    def segments(self, start_s: float, end_s: float) -> tuple[Segment, ...] | None:
        """The segments of a clip, None while the last one is not written. Raises as `select`, and ClipRefused."""
        found = select(tuple(self.recording.segments), start_s, end_s, self.now_s)
        if found is None and self.failed:
            raise ClipRefused(CRASHED)
        return found

    # --- the sidecar ------------------------------------------------------------------------------------------------

    def note(self, line: bytes) -> None:
        """Append a line of the session's log to the sidecar."""
        if self.failed:
            return
        self._lines.append(line)
        if len(self._lines) >= MAX_LINES:
            self._put([])

    # --- the writer -------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close the last segment and wait until everything is on disk."""
        if self._idle is not None:
            self._idle.cancel()
        if not self.failed:
            self._put(self._packets)
        self._batches.put_nowait(None)
        await self._writing

    async def _write_all(self) -> None:
        while (batch := await self._batches.get()) is not None:
            try:
                await self._write(batch)
            except (av.FFmpegError, OSError) as error:
                self._fail(f"{type(error).__name__}: {error.strerror}")
            self._waiting -= len(batch.packets)

    async def _write(self, batch: _Batch) -> None:
        if self.failed:
            return
        if batch.packets:
            number = self.recording.number
            cmaf = await asyncio.to_thread(mux, batch.packets, batch.first, number, self._fps)
            await self.recording.add(cmaf, batch.first / self._fps, len(batch.packets) / self._fps)
        await self.recording.add_events(batch.lines)

    def _fail(self, reason: str) -> None:
        """Give the recording up; the session goes on, and what is written can still be fetched."""
        if not self.failed:
            metrics.FAILURES.labels("recorder").inc()
            log.error("recording_failed", reason=reason)
        self.failed = True
        self._packets.clear()
        self._lines.clear()
