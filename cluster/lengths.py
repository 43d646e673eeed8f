"""How long sessions last, from those that ended lately: by this it is judged when those that run will end."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

import numpy as np
from numpy.typing import NDArray

REMEMBERED = 2048

Curve = NDArray[np.float64]


class Lengths:
    """Of the newest `REMEMBERED` sessions, in seconds."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque()
        self._sorted: list[float] = []
        self._seen: tuple[Curve, Curve] | None = None
        """Lengths, and how many last longer; made when it is asked for."""
        self._total = 0.0

    def add(self, seconds: float) -> None:
        """One has ended."""
        if len(self._newest) == REMEMBERED:
            oldest = self._newest.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
            self._total -= oldest
        self._newest.append(seconds)
        insort(self._sorted, seconds)
        self._seen = None
        self._total += seconds

    @property
    def mean(self) -> float | None:
        """In seconds; None before the first."""
        return max(self._total / len(self._newest), 1e-3) if self._newest else None

    def lasting(self, seconds: Curve) -> Curve:
        """The share of sessions that last longer than each of `seconds`, never quite 0.

        One session more is counted than was seen, with a long tail (Lomax, shape 2) of the same mean: few samples are
        not taken for the whole truth, and a session older than any that was seen is expected to go on for long.
        """
        if self.mean is None:
            return np.ones_like(seconds)
        count = len(self._sorted)
        if self._seen is None:
            self._seen = np.array([0.0, *self._sorted]), np.append(float(count), np.arange(count - 0.5, 0, -1))
        seen = np.interp(seconds, *self._seen, right=0.0)
        tail = np.square(self.mean / (self.mean + seconds))
        return np.asarray((seen + tail) / (count + 1))
