"""One codec of one video output: an encoder while somebody watches, keyframes when they are needed, the fan-out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.media.encoder import Encoder, Job, Packet, Picture, VideoCodec, VideoShape
from cluster.media.track import PacketTrack, VideoTrack

KEYFRAME_SPACING_S = 0.5
"""Keyframes asked for (joins, PLI, FIR) are at least this far apart."""
MAX_BACKLOG = 6
"""Pictures an encoder may be behind; then the pacer waits for it."""


@dataclass(slots=True)
class OutputStats:
    """Counters of a video output since it was made.

    Every picture pushed is released once, or dropped by `flush`; every picture released is encoded once per codec that
    is being watched. `repeated` counts encodes of a picture that was shown before (joins while nothing is released).
    """

    pushed: int = 0
    released: int = 0
    underruns: int = 0
    encoded: Counter[VideoCodec] = field(default_factory=Counter)
    failed: int = 0
    repeated: int = 0
    keyframes: int = 0
    viewer_drops: int = 0


class Feed:
    """See the module. All methods are called in the loop."""

    def __init__(
        self,
        codec: VideoCodec,
        shape: VideoShape,
        name: str,
        stats: OutputStats,
        clock: Callable[[], float],
        owner_wake: Callable[[], None],
    ) -> None:
        """`owner_wake` is called when the encoder has room again and when a keyframe is wanted."""
        self.codec = codec
        self._shape = shape
        self._name = name
        self._stats = stats
        self._clock = clock
        self._owner_wake = owner_wake
        self._viewers: set[PacketTrack] = set()
        self._encoder: Encoder | None = None
        self._retired: list[Encoder] = []
        self._last_keyframe = float("-inf")
        self.keyframe_wanted = False

    def join(self, track: PacketTrack) -> None:
        """Serve a track, beginning with a keyframe."""
        self._viewers.add(track)
        if self._encoder is None:
            self._encoder = Encoder(self.codec, self._shape, self._name, self._finished)
            self._last_keyframe = float("-inf")
        self.request_keyframe()

    def leave(self, track: PacketTrack) -> None:
        """Stop serving a track; the last one takes the encoder with it."""
        self._viewers.discard(track)
        if not self._viewers and self._encoder is not None:
            self._encoder.stop()
            self._retired.append(self._encoder)
            self._encoder = None
            self.keyframe_wanted = False

    def request_keyframe(self) -> None:
        """Ask for a keyframe as soon as the spacing allows."""
        self.keyframe_wanted = True
        self._owner_wake()

    @property
    def keyframe_in_s(self) -> float:
        """Seconds until the next keyframe may be made."""
        return max(0.0, self._last_keyframe + KEYFRAME_SPACING_S - self._clock())

    @property
    def room(self) -> int:
        """How many pictures the encoder takes before it counts as behind."""
        return MAX_BACKLOG if self._encoder is None else MAX_BACKLOG - self._encoder.backlog

    def show(self, picture: Picture, timestamp: int, *, repeat: bool = False) -> None:
        """Encode a picture if anyone watches."""
        if self._encoder is None:
            return
        keyframe = self.keyframe_wanted and self.keyframe_in_s == 0
        if keyframe:
            self.keyframe_wanted = False
            self._last_keyframe = self._clock()
        self._encoder.submit(Job(picture, timestamp, keyframe, repeat))

    def _finished(self, encoder: Encoder, job: Job, packet: Packet | None) -> None:
        if packet is None:
            self._stats.failed += 1
        else:
            self._count(job, packet)
        if encoder is self._encoder:
            self._fan_out(packet)
        self._owner_wake()

    def _fan_out(self, packet: Packet | None) -> None:
        if packet is None:
            self.keyframe_wanted = True
            return
        for viewer in tuple(self._viewers):
            viewer.deliver(packet)

    def _count(self, job: Job, packet: Packet) -> None:
        if job.repeat:
            self._stats.repeated += 1
        else:
            self._stats.encoded[self.codec] += 1
        if packet.is_keyframe:
            self._stats.keyframes += 1

    def new_viewer(self) -> VideoTrack:
        """A paused track of this feed."""
        return VideoTrack(self, self._count_drops)

    def _count_drops(self, packets: int) -> None:
        self._stats.viewer_drops += packets

    async def close(self) -> None:
        """Stop every track and wait for the encoder threads."""
        for viewer in tuple(self._viewers):
            viewer.stop()
        for encoder in self._retired:
            await encoder.join()
        self._retired.clear()
