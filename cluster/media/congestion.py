"""What a viewer's way carries, from what its receiver reports, and the pace at which packets may leave. Pure.

Four signs are read. Loss in receiver reports says that a queue on the way is full; requests for retransmission (NACK)
say so up to a second earlier. The receiver's own estimate (REMB) falls when packets begin to queue, before any is lost;
it rises slowly, and never far above what comes in, so it holds the target down only where what was sent is near the
target. The round-trip time tells of a queue that stays full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

START = 2_000_000
"""First guess, in bit/s: below most links, good enough to look at."""
LOWEST = 100_000
"""The target is never below this, in bit/s."""
CLEAN_LOSS = 0.02
HEAVY_LOSS = 0.10
BURST_WINDOW_S, BURST_PACKETS, BURST_LOSS = 0.5, 10, 0.2
"""A burst of loss is at least so many packets and this share of them within this time; packets that only overtook each
other are asked for, too."""
STARVING_LOSS = 0.25
"""Losing this much at the floor means that the way does not carry it, whether or not a queue can be seen."""
REMB_MARGIN = 0.92
APP_LIMITED = 0.6
"""Sending less than this share of the target says nothing about the target."""
GROWTH_PER_S = 1.08
CAREFUL_GROWTH_PER_S = 1.02
NEAR, NEW_GROUND = 0.8, 1.1
"""Growth is careful between these parts of the rate at which the way last was full."""
HOLD_S, DRAIN = 3.0, 0.8
"""After a decrease the target stays for this long, and only this part of it is encoded at."""
QUEUE_RTT_S = 0.1
"""A round trip this much above the shortest one means a standing queue."""
RTT_DRIFT_S = 0.01
"""The shortest round trip is forgotten by this much per report: ways change."""
MIN_REPORT_S = 0.2
"""Reports closer together than this are judged as one."""
RETRY_S = 5.0
"""A viewer below the floor is tried again after this time, then after twice of it, and so on."""
MAX_RETRY_S = 60.0


MAX_LATE_S = 0.05
"""A bucket makes good for waits that took longer than they should, up to this."""


@dataclass(slots=True)
class _Burst:
    since: float
    packets: int = 0
    bytes: int = 0
    lost: int = 0


class RateControl:
    """The target of one peer, in bit/s, never above `ceiling`.

    Below `floor` the peer is `starved` and given keyframes only; it is tried again later, more seldom each time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.target = START
        self.ceiling = START
        self.floor = LOWEST
        self.heard = False
        """Whether anything has been reported yet."""
        self._sent_bytes = 0
        self._rate = 0.0
        self._since = clock()
        self._began = False
        self._burst = _Burst(clock())
        self._lowered_at = float("-inf")
        self._remb: int | None = None
        self._shortest_rtt: float | None = None
        self._full_at = float("inf")
        self._retry_s = RETRY_S
        self._retry_at: float | None = None

    def begin(self, target: int) -> None:
        """Start from the first guess, or from what is sent already if that is more, until something is reported."""
        if not self.heard:
            self.target = max(min(START, self.ceiling), target)

    def sent(self, size: int) -> None:
        """Count a packet that has left, of `size` bytes."""
        if not self._began:
            self._began, self._since = True, self._clock()
        self._sent_bytes += size
        self._burst.packets += 1
        self._burst.bytes += size

    def lost(self, packets: int) -> bool:
        """The receiver asks for packets for the first time. Returns whether this is the sign of a full queue."""
        now = self._clock()
        self._burst.lost += packets
        share = self._burst.lost / max(1, self._burst.packets)
        heavy = self._burst.lost >= BURST_PACKETS and share > BURST_LOSS
        full = heavy and now - self._lowered_at > 2 * BURST_WINDOW_S
        if full:
            rate = self._burst.bytes * 8 / max(BURST_WINDOW_S / 2, now - self._burst.since)
            self.heard = True
            self._lower(max(0.95 * rate * (1 - share), 0.7 * self.target))
        if now - self._burst.since > BURST_WINDOW_S:
            self._burst = _Burst(now)
        return full

    @property
    def starved(self) -> bool:
        """Whether the way carries less than the floor."""
        return self._retry_at is not None

    @property
    def _held(self) -> bool:
        return self._clock() - self._lowered_at < HOLD_S

    @property
    def usable(self) -> int:
        """What to encode at: after a decrease less than the target, so that queues empty and repairs have room."""
        return int(DRAIN * self.target) if self._held else self.target

    @property
    def limited(self) -> bool:
        """Whether the target is untried, or near or below a rate at which the way was full."""
        return not self.heard or (self.target <= NEW_GROUND * self._full_at and self._full_at < float("inf"))

    def report(self, fraction_lost: float, rtt: float | None) -> None:
        """A receiver report: the share of packets lost since the one before it, and the round trip in seconds."""
        now = self._clock()
        elapsed = now - self._since
        if elapsed < MIN_REPORT_S:
            return
        self._rate = self._sent_bytes * 8 / elapsed
        self._sent_bytes, self._since = 0, now
        queues = self._queues(rtt)
        if fraction_lost > HEAVY_LOSS:
            if self.target <= self.floor and (queues or fraction_lost > STARVING_LOSS):
                self._starve()
            self._lower(max(0.95 * self._rate * (1 - fraction_lost), self.target / 2))
        elif queues:
            self._lower(0.9 * self.target)
        elif fraction_lost <= CLEAN_LOSS and not self._held:
            self._raise(elapsed)
        self.heard = True
        self._retry()

    def _queues(self, rtt: float | None) -> bool:
        if rtt is None:
            return False
        shortest = rtt if self._shortest_rtt is None else min(rtt, self._shortest_rtt + RTT_DRIFT_S)
        self._shortest_rtt = shortest
        return rtt > shortest + QUEUE_RTT_S

    def remb(self, bitrate: int) -> None:
        """The receiver's estimate of what it can receive, in bit/s."""
        falling = bitrate < 0.97 * self._remb if self._remb is not None else bitrate < 0.9 * self._rate_now()
        self._remb = bitrate
        self.heard = True
        if self._held:
            return  # an echo of the decrease: the estimate follows what comes in
        if falling and self._rate_now() >= APP_LIMITED * self.target and REMB_MARGIN * bitrate < self.target:
            self._lower(REMB_MARGIN * bitrate)

    def _rate_now(self) -> float:
        elapsed = self._clock() - self._since
        return self._sent_bytes * 8 / elapsed if elapsed >= MIN_REPORT_S else self._rate

    def _lower(self, target: float) -> None:
        if not self._held:
            self._full_at = self.target
        self._lowered_at = self._clock()
        lowest = LOWEST if self.starved else min(self.floor, self.target)
        self.target = max(lowest, int(min(target, self.target)))

    def _starve(self) -> None:
        if not self.starved:
            self._retry_at = self._clock() + self._retry_s

    def _raise(self, elapsed: float) -> None:
        near = NEAR * self._full_at < self.target < NEW_GROUND * self._full_at
        grown = self.target * (CAREFUL_GROWTH_PER_S if near else GROWTH_PER_S) ** min(elapsed, 2.0)
        bounds = [grown, 1.5 * self._rate, float(self.ceiling)]
        if self._remb is not None:
            bounds.append(REMB_MARGIN * self._remb)
        self.target = int(max(self.target, min(bounds)))
        if self.target > NEW_GROUND * self._full_at:
            self._full_at = float("inf")

    def _retry(self) -> None:
        if self._retry_at is not None and self._clock() >= self._retry_at:
            self._retry_at = None
            self._retry_s = min(2 * self._retry_s, MAX_RETRY_S)
            self._full_at, self._remb = float("inf"), None
            self.target = self.floor


class TokenBucket:
    """Bytes that may leave: `rate` bit/s on the long run, at most `depth_s` seconds of it at once."""

    def __init__(self, depth_s: float, clock: Callable[[], float]) -> None:
        self._depth_s = depth_s
        self._clock = clock
        self._tokens = 0.0
        self._filled_at = clock()

    def take(self, size: int, rate: float) -> float:
        """Take bytes at once, on credit if need be; returns the seconds until the credit is paid back, 0 without."""
        now = self._clock()
        deepest = max(self._depth_s * rate / 8, self._tokens)
        kept = min(deepest, self._tokens + (now - self._filled_at) * rate / 8)
        self._tokens, self._filled_at = kept - size, now
        return max(0.0, -self._tokens * 8 / rate)

    def waited(self, rate: float) -> None:
        """Whoever owed has waited, on a busy machine for too long: that much more may leave at once."""
        now = self._clock()
        self._tokens = min(MAX_LATE_S * rate / 8, self._tokens + (now - self._filled_at) * rate / 8)
        self._filled_at = now

    def stop(self, seconds: float, rate: float) -> None:
        """Let nothing leave for this long."""
        self._tokens = -seconds * rate / 8
