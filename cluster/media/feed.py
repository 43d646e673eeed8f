"""One codec of one video output: an encoder while somebody watches, keyframes when they are needed, the fan-out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cluster.media.congestion import START
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
    encoded_bytes: Counter[VideoCodec] = field(default_factory=Counter)
    encode_s: defaultdict[VideoCodec, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds that the encoder's thread has spent."""
    encoder_waits: int = 0
    """How often a picture was due and an encoder had no room for it."""
    failed: int = 0
    repeated: int = 0
    keyframes: int = 0
    viewer_drops: int = 0


class Tap(Protocol):
    """Somebody who keeps every packet: the recorder. Called in the loop, in order."""

    def due(self, *, repeat: bool) -> bool:
        """A picture is going to be encoded, `repeat` if it was shown before: whether it has to be a keyframe."""
        ...

    def take(self, packet: Packet | None, *, repeat: bool) -> None:
        """What came of it; None if the encoder failed."""
        ...


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
        self._tap: Tap | None = None
        self._bitrate = shape.bitrate
        self._encoder: Encoder | None = None
        self._retired: list[Encoder] = []
        self._last_keyframe = float("-inf")
        self.keyframe_wanted = False

    def join(self, track: PacketTrack) -> None:
        """Serve a track, beginning with a keyframe."""
        encoder = self._start()
        if not self._viewers:
            encoder.bitrate = self._bitrate = min(START, self._shape.bitrate)
        self._viewers.add(track)
        self.request_keyframe()

    def tap(self, tap: Tap) -> None:
        """Encode for the tap, too, from now on until the end."""
        self._tap = tap
        self._start()

    def _start(self) -> Encoder:
        if self._encoder is None:
            self._encoder = Encoder(self.codec, self._shape, self._name, self._finished)
            self._last_keyframe = float("-inf")
        return self._encoder

    def leave(self, track: PacketTrack) -> None:
        """Stop serving a track; the last one takes the encoder with it."""
        self._viewers.discard(track)
        self.rates_changed()
        if not self._viewers:
            self.keyframe_wanted = False
            if self._tap is None:
                self._stop()

    def _stop(self) -> None:
        if self._encoder is not None:
            self._encoder.stop()
            self._retired.append(self._encoder)
            self._encoder = None

    def request_keyframe(self) -> None:
        """Ask for a keyframe as soon as the spacing allows."""
        self.keyframe_wanted = True
        self._owner_wake()

    def rates_changed(self) -> None:
        """Encode for the slowest viewer that can take the floor; those of whom nothing is known do not count."""
        rates = [viewer.rate for viewer in self._viewers if isinstance(viewer, VideoTrack) and viewer.rate is not None]
        if rates and self._encoder is not None:
            self._bitrate = max(self._shape.min_bitrate, min(*rates, self._shape.bitrate))
            self._encoder.bitrate = self._bitrate
        elif not self._viewers and self._encoder is not None:
            self._encoder.bitrate = self._bitrate = self._shape.bitrate

    @property
    def bitrate(self) -> int:
        """What is encoded at, in bit/s, while somebody watches."""
        return self._bitrate

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
        if self._encoder is None or (repeat and not self._viewers):
            return
        keyframe = self.keyframe_wanted and self.keyframe_in_s == 0
        if self._tap is not None and self._tap.due(repeat=repeat):
            keyframe = True
        if keyframe:
            self.keyframe_wanted = False
            self._last_keyframe = self._clock()
        self._encoder.submit(Job(picture, timestamp, keyframe, repeat))

    def _finished(self, encoder: Encoder, job: Job, packet: Packet | None) -> None:
        if packet is None:
            self._stats.failed += 1
        else:
            self._count(job, packet, encoder.took_s)
        if encoder is self._encoder:
            if self._tap is not None:
                self._tap.take(packet, repeat=job.repeat)
            self._fan_out(packet)
        self._owner_wake()

    def _fan_out(self, packet: Packet | None) -> None:
        if packet is None:
            self.keyframe_wanted = bool(self._viewers)
            return
        for viewer in tuple(self._viewers):
            viewer.deliver(packet)

    def _count(self, job: Job, packet: Packet, took_s: float) -> None:
        self._stats.encoded_bytes[self.codec] += packet.size
        self._stats.encode_s[self.codec] += took_s
        if job.repeat:
            self._stats.repeated += 1
        else:
            self._stats.encoded[self.codec] += 1
        if packet.is_keyframe:
            self._stats.keyframes += 1

    def new_viewer(self) -> VideoTrack:
        """A paused track of this feed."""
        shape = self._shape
        return VideoTrack(self, self._count_drops, ceiling=shape.bitrate, floor=shape.min_bitrate)

    def _count_drops(self, packets: int) -> None:
        self._stats.viewer_drops += packets

    async def close(self) -> None:
        """Stop every track and wait for the encoder threads."""
        for viewer in tuple(self._viewers):
            viewer.stop()
        self._tap = None
        self._stop()
        for encoder in self._retired:
            await encoder.join()
        self._retired.clear()
