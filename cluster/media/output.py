"""The outbound tracks of a session: bursts of pictures or samples in, shared packets for every viewer out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cluster.media.audio import AudioOutput
from cluster.media.encoder import VIDEO_CLOCK, Picture, VideoCodec, VideoShape
from cluster.media.feed import MAX_BACKLOG, Feed, OutputStats, Tap
from cluster.media.pacer import Pacer
from cluster.media.track import VideoTrack
from cluster.settings import MediaSettings

__all__ = ["AudioOutput", "OutputStats", "VideoCodec", "VideoOutput"]

SETTLE_PICTURES = 3
"""After this many picture times without a picture the last one is sent once more: some receivers show a picture only
when the next one begins."""


class VideoOutput:
    """One outbound video track of a session: paced, encoded once per watched codec, fanned out to the viewers.

    Make it inside the running loop. `push` may be called from any thread, everything else in the loop. RTP time
    follows the clock, also across pauses; while nothing is released nothing is sent, except to who joins.
    """

    def __init__(
        self,
        name: str,
        width: int,
        height: int,
        fps: int,
        settings: MediaSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._shape = VideoShape.of(width, height, fps, settings)
        self._clock = clock
        self._epoch = clock()
        self._loop = asyncio.get_running_loop()
        self._pacer: Pacer[Picture] = Pacer(fps, clock)
        self._feeds: dict[VideoCodec, Feed] = {}
        self._viewers: list[VideoTrack] = []
        self._stats = OutputStats()
        self._waiters: list[tuple[float, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._still: Picture | None = None
        self._settle_at: float | None = None
        self._timestamp = -1
        self._closed = False

    @property
    def stats(self) -> OutputStats:
        """The counters, up to now."""
        self._stats.pushed = self._pacer.pushed
        self._stats.underruns = self._pacer.underruns
        return self._stats

    def push(self, rgb: NDArray[np.uint8]) -> None:
        """Accept pictures, uint8 [n, height, width, 3]; they must not be written to afterwards.

        Raises:
            ValueError: the pictures have another geometry than the track.
        """
        if rgb.dtype != np.uint8 or rgb.shape[1:] != (self._shape.height, self._shape.width, 3):
            raise ValueError(f"{self.name} takes uint8 [n, {self._shape.height}, {self._shape.width}, 3]")
        if self._closed:
            return
        self._pacer.push(np.ascontiguousarray(rgb))
        self._loop.call_soon_threadsafe(self._drive)

    @property
    def queued_s(self) -> float:
        """Seconds of pictures accepted and not yet released."""
        return self._pacer.queued_s

    @property
    def lead_s(self) -> float:
        """Seconds until a picture accepted now would be due; less than 0: so late; 0 before the first."""
        return self._pacer.lead_s

    async def wait_below(self, seconds: float) -> None:
        """Return once `queued_s` is at most `seconds`, or the output is closed."""
        while self.queued_s > seconds and not self._closed:
            waiter = self._loop.create_future()
            self._waiters.append((seconds, waiter))
            await waiter

    def flush(self) -> None:
        """Drop what is queued."""
        self._pacer.flush()
        self._drive()

    def viewer(self, codec: VideoCodec) -> VideoTrack:
        """A track that reads this output in `codec`; starts paused."""
        track = self._feed(codec).new_viewer()
        self._viewers = [viewer for viewer in self._viewers if viewer.readyState == "live"]
        self._viewers.append(track)
        return track

    def record(self, tap: Tap) -> None:
        """Encode H.264 for a recorder, whether or not anybody watches."""
        self._feed(VideoCodec.H264).tap(tap)

    def _feed(self, codec: VideoCodec) -> Feed:
        if codec not in self._feeds:
            self._feeds[codec] = Feed(codec, self._shape, self.name, self._stats, self._clock, self._drive)
        return self._feeds[codec]

    def bitrate(self, codec: VideoCodec) -> int:
        """What a codec is encoded at now, in bit/s, if it is watched."""
        return self._feeds[codec].bitrate

    async def close(self) -> None:
        """End every viewer's track and every encoder."""
        self._closed = True
        self._disarm()
        self._pacer.flush()
        self._wake_waiters()
        for viewer in self._viewers:
            viewer.stop()
        for feed in self._feeds.values():
            await feed.close()

    # --- the driver: runs when pictures come, when one is due, when an encoder has room, when a keyframe is wanted

    def _drive(self) -> None:
        if self._closed:
            return
        room = min((feed.room for feed in self._feeds.values()), default=MAX_BACKLOG)
        for picture, due in self._pacer.release(room):
            self._show(picture, due)
        if self._pacer.wait_s is None:
            self._show_still()
        self._wake_waiters()
        self._arm()

    def _show(self, picture: Picture, due: float) -> None:
        self._still = picture
        self._stats.released += 1
        self._settle_at = due + SETTLE_PICTURES / self._shape.fps
        timestamp = self._stamp(due)
        for feed in self._feeds.values():
            feed.show(picture, timestamp)

    def _show_still(self) -> None:
        """Nothing is queued: repeat the last picture where someone needs it."""
        if self._still is None:
            return
        settled = self._settle_at is not None and self._settle_at <= self._clock()
        if settled:
            self._settle_at = None
        for feed in self._feeds.values():
            joined = feed.keyframe_wanted and feed.keyframe_in_s == 0
            for _ in range(2 if joined else int(settled)):  # the second makes receivers show the first
                feed.show(self._still, self._stamp(self._clock()), repeat=True)

    def _stamp(self, at: float) -> int:
        self._timestamp = max(self._timestamp + 1, int((at - self._epoch) * VIDEO_CLOCK))
        return self._timestamp

    def _arm(self) -> None:
        self._disarm()
        delay = self._pacer.wait_s
        if delay is None:
            delay = self._still_in_s()
        elif any(feed.room <= 0 for feed in self._feeds.values()):
            self._stats.encoder_waits += delay == 0
            return  # the encoder drives on when it has room
        if delay is not None:
            self._timer = self._loop.call_later(delay, self._drive)

    def _still_in_s(self) -> float | None:
        if self._still is None:
            return None
        delays = [feed.keyframe_in_s for feed in self._feeds.values() if feed.keyframe_wanted]
        if self._settle_at is not None:
            delays.append(max(0.0, self._settle_at - self._clock()))
        return min(delays, default=None)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake_waiters(self) -> None:
        waiting = []
        for seconds, waiter in self._waiters:
            if waiter.done():
                continue
            if self._closed or self.queued_s <= seconds:
                waiter.set_result(None)
            else:
                waiting.append((seconds, waiter))
        self._waiters = waiting
