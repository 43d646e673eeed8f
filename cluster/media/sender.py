"""A paced, rate-controlled way to one peer, over aiortc's own senders.

aiortc packetises, keeps the history and encrypts. A `PacedTransport` takes the place of a sender's transport: after
each packet it makes the sender wait until the next may leave, so that packets carry the time at which they really went.
Retransmissions go the same way, from a task of their own, within a budget.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from aiortc import RTCDtlsTransport, RTCRtpSender

from cluster.media import rtp
from cluster.media.congestion import RateControl, TokenBucket
from cluster.media.reports import Report, ReportMeter
from cluster.media.track import VideoTrack

BURST_S = 0.005
"""Packets leave in bursts of this length."""
SPEED = 3.0
"""Packets leave this much faster than the target, so that a picture is not held up ..."""
LIMITED_SPEED = 1.25
"""... and this much where the way is narrow."""
PAUSE_S = 0.2
"""Nothing leaves for this long when a queue is full: what is sent again would only be lost again."""
REPAIR_SHARE = 0.5
"""Retransmissions may take this share of the target."""
REPAIR_BURST_S = 0.5
REPAIR_AGE_S = 2.0
"""A packet that has been due for longer than this is not sent again."""
SAME_LOSS = 1.2
"""A packet is sent again once per this many round trips."""
GUESSED_RTT_S = 0.2
"""The round trip while none is known."""
SAFE_PACKETS = 96
"""A packet that may be there already is not sent again once so many have followed it: aiortc's receiver takes a second
copy from a hundred packets ago for another stream, and forgets all that it holds."""


class Way:
    """One peer's video senders: one target and one bucket for all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._control = RateControl(clock)
        self._bucket = TokenBucket(BURST_S, clock)
        self._repairs = TokenBucket(REPAIR_BURST_S, clock)
        self._tracks: list[VideoTrack] = []
        self._tasks: list[asyncio.Task[None]] = []

    def carry(self, sender: RTCRtpSender, track: VideoTrack) -> None:
        """Pace what this sender reads from the track, and let the track follow the target."""
        self._tracks.append(track)
        paced = PacedTransport(sender, self)
        self._tasks.append(asyncio.create_task(paced.repair()))
        counted = ReportMeter()

        def reported(report: Report) -> None:
            counted.observe(report)
            self._reported(report.fraction_lost, report.round_trip)

        rtp.on_feedback(sender, reported, self._estimated)

    def sent(self, size: int) -> float:
        """Account for a packet; returns how long to wait before the next, in seconds."""
        if not self._control.heard:
            self._follow_tracks()
            self._control.begin(sum(track.bitrate for track in self._playing()))
        self._control.sent(size)
        owed = self._bucket.take(size, self._pace())
        return max(owed, BURST_S) if owed else 0.0

    def waited(self) -> None:
        """The wait is over."""
        self._bucket.waited(self._pace())

    def _pace(self) -> float:
        return (LIMITED_SPEED if self._control.limited else SPEED) * self._control.target

    def repaired(self, size: int) -> float:
        """Account for a retransmission; returns how long to wait before the next, in seconds."""
        return self._repairs.take(size, REPAIR_SHARE * self._control.target)

    def lost(self) -> None:
        """Account for a packet that is asked for the first time."""
        self._follow_tracks()
        if self._control.lost(1):
            self._bucket.stop(PAUSE_S, self._pace())
        self._tell_tracks()

    def now(self) -> float:
        """The clock."""
        return self._clock()

    def _reported(self, fraction_lost: float, rtt: float | None) -> None:
        self._follow_tracks()
        self._control.report(fraction_lost, rtt)
        self._tell_tracks()

    def _estimated(self, bitrate: int) -> None:
        self._follow_tracks()
        self._control.remb(bitrate)
        self._tell_tracks()

    def _playing(self) -> list[VideoTrack]:
        return [track for track in self._tracks if track.playing]

    def _follow_tracks(self) -> None:
        playing = self._playing()
        if playing:
            self._control.ceiling = sum(track.ceiling for track in playing)
            self._control.floor = sum(track.floor for track in playing)

    def _tell_tracks(self) -> None:
        if not self._control.heard:
            return
        for track in self._playing():
            share = self._control.usable * track.ceiling // self._control.ceiling
            track.follow(None if self._control.starved else share)

    async def close(self) -> None:
        """End the retransmissions."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Asked for; `doubtful` if so soon after it was last sent again that it may have arrived meanwhile."""

    due_at: float
    doubtful: bool


class PacedTransport:
    """Stands before a sender's DTLS transport."""

    def __init__(self, sender: RTCRtpSender, way: Way) -> None:
        self._dtls: RTCDtlsTransport = sender.transport
        self._way = way
        self._sender = sender
        self._resend = rtp.take_over_retransmission(sender, self._asked_for)
        self._wanted: dict[int, _Wanted] = {}
        self._resent: dict[int, float] = {}
        self._newest = 0
        self._asked = asyncio.Event()
        sender.setTransport(self)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._dtls, name)

    async def _send_rtp(self, data: bytes) -> None:
        await self._dtls._send_rtp(data)
        if rtp.is_rtcp(data):
            return
        self._newest = rtp.sequence_number(self._sender, data, self._newest)
        if (wait := self._way.sent(len(data))) > 0:
            await asyncio.sleep(wait)
            self._way.waited()

    async def _asked_for(self, sequence_number: int) -> None:
        if sequence_number not in self._wanted:
            if sequence_number not in self._resent:
                self._way.lost()
            self._wanted[sequence_number] = self._want(sequence_number)
            self._asked.set()

    def _want(self, number: int) -> _Wanted:
        """At once; or, if it was sent again lately, when that has had time to arrive: some receivers ask once more at
        the next loss only, which may be far off, and show nothing until then."""
        lately = SAME_LOSS * (rtp.round_trip(self._sender) or GUESSED_RTT_S)
        now, arrives_at = self._way.now(), self._resent.get(number, float("-inf")) + lately
        return _Wanted(max(now, arrives_at), now < arrives_at)

    async def repair(self) -> None:
        """Send again what is asked for; of what is due the oldest first, which the receiver waits for."""
        while True:
            self._asked.clear()
            early = min((wanted.due_at for wanted in self._wanted.values()), default=math.inf) - self._way.now()
            if early > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if early == math.inf else early):
                        await self._asked.wait()
            else:
                due = (number for number, wanted in self._wanted.items() if wanted.due_at <= self._way.now())
                number = max(due, key=self._behind)
                await self._repair(number, self._wanted.pop(number))

    async def _repair(self, number: int, wanted: _Wanted) -> None:
        now = self._way.now()
        if now - wanted.due_at > REPAIR_AGE_S or (wanted.doubtful and self._behind(number) > SAFE_PACKETS):
            return
        self._forget(now)
        self._resent.pop(number, None)
        self._resent[number] = now
        try:
            await self._resend(number)
        except ConnectionError:
            return
        if (wait := self._way.repaired(rtp.PACKET_SIZE)) > 0:
            await asyncio.sleep(wait)

    def _behind(self, number: int) -> int:
        return (self._newest - number) % 2**16

    def _forget(self, now: float) -> None:
        while self._resent and now - next(iter(self._resent.values())) > REPAIR_AGE_S:
            del self._resent[next(iter(self._resent))]
