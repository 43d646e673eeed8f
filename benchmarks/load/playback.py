"""What a viewer would see of pictures that came at these times: a player with a start buffer, and WebRTC's freezes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

Picture = tuple[float, int]
"""When it came, in seconds, and its number."""
FREEZE_S = 0.15
FREEZE_FACTOR = 3
FREEZE_WINDOW = 30


class Stall(NamedTuple):
    """Nothing new to show: from when, and for how long."""

    begin: float
    seconds: float


@dataclass(slots=True)
class Player:
    """Shows pictures at their rate, once `buffer_s` seconds of them are there; run dry, it waits for as many again.

    A picture that never comes is not waited for while later ones are there: the one before it stays on the screen.
    """

    fps: float
    buffer_s: float

    def stalls(self, pictures: Sequence[Picture], until: float) -> list[Stall]:
        """Its underruns over pictures in the order in which they came; the last one may last `until` the end."""
        found: list[Stall] = []
        waiting: list[int] = []
        last = -1  # the newest number
        anchor: float | None = None  # when number 0 would have been shown; None while it fills up
        dry: float | None = None  # since when it has had nothing to show
        for at, number in pictures:
            if number <= last:
                continue
            last = number
            if anchor is not None and at > (due := anchor + number / self.fps):
                anchor, dry, waiting = None, due, []
            if anchor is None:
                waiting.append(number)
                if (number - waiting[0] + 1) / self.fps >= self.buffer_s:
                    anchor = at - waiting[0] / self.fps
                    if dry is not None:
                        found.append(Stall(dry, at - dry))
        if anchor is None:
            return found + ([Stall(dry, until - dry)] if dry is not None else [])
        end = anchor + (last + 1) / self.fps
        return found + ([Stall(end, until - end)] if end < until else [])


def freezes(times: Sequence[float]) -> list[Stall]:
    """Gaps between pictures that WebRTC's statistics count as freezes (`freezeCount` of W3C's webrtc-stats).

    Longer than three times the mean of the 30 gaps before it, and than that mean by 150 ms.
    """
    before: deque[float] = deque(maxlen=FREEZE_WINDOW)
    found = []
    for earlier, later in itertools.pairwise(times):
        gap = later - earlier
        if before:
            mean = sum(before) / len(before)
            if gap >= max(FREEZE_FACTOR * mean, mean + FREEZE_S):
                found.append(Stall(earlier, gap))
        before.append(gap)
    return found
