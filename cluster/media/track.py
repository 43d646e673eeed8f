"""What a viewer's RTP sender reads from: encoded packets, shared with every other viewer of the output."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from cluster.media.encoder import VIDEO_CLOCK, Packet

MAX_BEHIND = 48
"""Packets of audio a viewer may be behind."""
MAX_BEHIND_S = 0.35
"""A video viewer this far behind skips to the next keyframe ..."""
FAR_BEHIND_S = 1.0
"""... and this far behind gets nothing until it comes."""
KEYFRAMES_ONLY_S = 2.0
"""How far apart the keyframes are of a viewer that gets nothing else."""


class Source(Protocol):
    """Where a track's packets come from."""

    def join(self, track: PacketTrack) -> None:
        """The track wants packets from now on."""
        ...

    def leave(self, track: PacketTrack) -> None:
        """The track wants no more packets; called for tracks that never joined, too."""
        ...


class PacketTrack(MediaStreamTrack):
    """One viewer's end of an output. Starts paused; `resume`, `pause` and `stop` may be repeated."""

    def __init__(self, kind: str, source: Source, dropped: Callable[[int], None]) -> None:
        super().__init__()
        self.kind = kind
        self.playing = False
        self._source = source
        self._dropped = dropped
        self._packets: deque[Packet] = deque()
        self._arrived = asyncio.Event()

    def resume(self) -> None:
        """Start reading from the output."""
        if not self.playing and self.readyState == "live":
            self.playing = True
            self._source.join(self)

    def pause(self) -> None:
        """Stop reading; what was not sent yet never will be."""
        if self.playing:
            self.playing = False
            self._packets.clear()
            self._source.leave(self)

    def stop(self) -> None:
        """End the track for good."""
        self.pause()
        super().stop()
        self._arrived.set()

    def request_keyframe(self) -> None:
        """The receiver has lost the picture; of no concern to audio."""

    def deliver(self, packet: Packet) -> None:
        """Queue a packet; the oldest makes way if the viewer is too far behind."""
        if len(self._packets) >= MAX_BEHIND:
            self._packets.popleft()
            self._dropped(1)
        self._append(packet)

    @property
    def waiting(self) -> int:
        """Packets that were not read yet."""
        return len(self._packets)

    def _append(self, packet: Packet) -> None:
        self._packets.append(packet)
        self._arrived.set()

    async def recv(self) -> Packet:
        """The next packet; raises MediaStreamError once stopped."""
        while self.readyState == "live":
            if self._packets:
                return self._packets.popleft()
            self._arrived.clear()
            await self._arrived.wait()
        raise MediaStreamError


class VideoSource(Source, Protocol):
    """A source that can make keyframes and follow what its viewers can take."""

    def request_keyframe(self) -> None:
        """Encode a keyframe soon."""
        ...

    @property
    def bitrate(self) -> int:
        """What is encoded at, in bit/s."""
        ...

    def rates_changed(self) -> None:
        """A viewer's `rate` is another now."""
        ...


class VideoTrack(PacketTrack):
    """A viewer of a video output: every stretch of packets it delivers begins with a keyframe.

    `ceiling` and `floor` are the rates, in bit/s, between which the output is encoded. A viewer that can take less than
    the floor gets a keyframe now and then, and nothing else.
    """

    def __init__(self, source: VideoSource, dropped: Callable[[int], None], *, ceiling: int, floor: int) -> None:
        super().__init__("video", source, dropped)
        self.ceiling = ceiling
        self.floor = floor
        self.rate: int | None = None
        """What the viewer can take, in bit/s; None while it is not known, or does not count."""
        self._video = source
        self._needs_keyframe = True
        self._keyframes_only = False
        self._last_keyframe = 0

    @property
    def bitrate(self) -> int:
        """What comes, in bit/s."""
        return self._video.bitrate

    def pause(self) -> None:
        """Stop reading; what was not sent yet never will be."""
        super().pause()
        self._needs_keyframe = True

    def request_keyframe(self) -> None:
        """The receiver has lost the picture."""
        if self.playing and not self._keyframes_only:
            self._video.request_keyframe()

    def follow(self, rate: int | None) -> None:
        """The viewer can take this much, in bit/s; with None it is below the floor: it gets keyframes only."""
        starved = rate is None
        if self._keyframes_only and not starved:
            self._needs_keyframe = True
            self._video.request_keyframe()
        self._keyframes_only = starved
        if rate != self.rate:
            self.rate = rate
            self._video.rates_changed()

    def deliver(self, packet: Packet) -> None:
        """Queue a packet; a viewer that is too far behind goes on at the next keyframe."""
        if packet.is_keyframe:
            self._start_at(packet)
        elif self._keyframes_only:
            self._dropped(1)
            if self._since_keyframe(packet) >= KEYFRAMES_ONLY_S:
                self._video.request_keyframe()
        elif not self._needs_keyframe:
            self._append(packet)
            self._check_behind()

    def _start_at(self, keyframe: Packet) -> None:
        if self._keyframes_only and self._since_keyframe(keyframe) < KEYFRAMES_ONLY_S:
            self._dropped(1)
            return
        if self._keyframes_only or self._behind_s() > MAX_BEHIND_S:
            self._drop()
        self._needs_keyframe = False
        self._last_keyframe = keyframe.pts or 0
        self._append(keyframe)

    def _check_behind(self) -> None:
        """Until the keyframe comes, the old pictures are better than none, unless they are very old."""
        behind = self._behind_s()
        if behind > MAX_BEHIND_S:
            self._video.request_keyframe()
        if behind > FAR_BEHIND_S:
            self._drop()
            self._needs_keyframe = True

    def _drop(self) -> None:
        self._dropped(len(self._packets))
        self._packets.clear()

    def _behind_s(self) -> float:
        if len(self._packets) < 2:
            return 0.0
        return ((self._packets[-1].pts or 0) - (self._packets[0].pts or 0)) / VIDEO_CLOCK

    def _since_keyframe(self, packet: Packet) -> float:
        return ((packet.pts or 0) - self._last_keyframe) / VIDEO_CLOCK
