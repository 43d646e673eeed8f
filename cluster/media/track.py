"""What a viewer's RTP sender reads from: encoded packets, shared with every other viewer of the output."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from cluster.media.encoder import Packet

MAX_BEHIND = 48
"""Packets a viewer may be behind before it skips ahead."""


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
    """A source that can make keyframes."""

    def request_keyframe(self) -> None:
        """Encode a keyframe soon."""
        ...


class VideoTrack(PacketTrack):
    """A viewer of a video output: every stretch of packets it delivers begins with a keyframe."""

    def __init__(self, source: VideoSource, dropped: Callable[[int], None]) -> None:
        super().__init__("video", source, dropped)
        self._video = source
        self._needs_keyframe = True

    def pause(self) -> None:
        """Stop reading; what was not sent yet never will be."""
        super().pause()
        self._needs_keyframe = True

    def request_keyframe(self) -> None:
        """The receiver has lost the picture."""
        if self.playing:
            self._video.request_keyframe()

    def deliver(self, packet: Packet) -> None:
        """Queue a packet; a viewer that is too far behind goes on at the next keyframe."""
        if len(self._packets) >= MAX_BEHIND:
            self._dropped(len(self._packets))
            self._packets.clear()
            self._needs_keyframe = True
            self._video.request_keyframe()
        if self._needs_keyframe and not packet.is_keyframe:
            return
        self._needs_keyframe = False
        self._append(packet)
