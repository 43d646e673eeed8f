"""Bursts in, a steady flow out.

A `Pacer` knows no event loop and no thread of its own: whoever produces calls `push`, whoever drives it asks `wait_s`
and calls `release`. It starts playing at once; when it has run dry, the clock restarts with the next burst, so the
flow settles on the worst lateness seen and no delay is added in advance.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

CATCH_UP_S = 0.25
"""A driver that comes later than this does not catch up; the clock is moved instead."""


class Pacer(Generic[T]):
    """Releases items at `rate` per second, in the order of `push`. Any method may be called from any thread."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._interval = 1.0 / rate
        self._clock = clock
        self._queue: deque[T] = deque()
        self._due: float | None = None
        self._lock = threading.Lock()
        self.pushed = 0
        self.underruns = 0

    def push(self, items: Iterable[T]) -> None:
        """Accept items; the first plays at once if nothing is queued and the last one's time is over."""
        with self._lock:
            before = len(self._queue)
            self._queue.extend(items)
            self.pushed += len(self._queue) - before
            if before == 0 and self._queue:
                self._start()

    def _start(self) -> None:
        now = self._clock()
        if self._due is not None and now > self._due + self._interval:
            self.underruns += 1
        self._due = now if self._due is None else max(self._due, now)

    def release(self, limit: int) -> list[tuple[T, float]]:
        """Take what is due, at most `limit` items, each with the clock's time at which it was due."""
        released: list[tuple[T, float]] = []
        with self._lock:
            now = self._clock()
            while self._queue and self._due is not None and self._due <= now and len(released) < limit:
                due = self._due if now - self._due <= CATCH_UP_S else now
                released.append((self._queue.popleft(), due))
                self._due = due + self._interval
        return released

    def flush(self) -> int:
        """Drop what is queued and forget the clock. Returns how many items were dropped."""
        with self._lock:
            dropped = len(self._queue)
            self._queue.clear()
            self._due = None
        return dropped

    @property
    def queued_s(self) -> float:
        """Seconds of items accepted and not yet released."""
        return len(self._queue) * self._interval

    @property
    def lead_s(self) -> float:
        """Seconds until an item that is pushed now would be due; less than 0: so late; 0 before the first."""
        with self._lock:
            return 0.0 if self._due is None else self._due + len(self._queue) * self._interval - self._clock()

    @property
    def wait_s(self) -> float | None:
        """Seconds until the next item is due; 0 if it is overdue, None while nothing is queued."""
        with self._lock:
            if not self._queue or self._due is None:
                return None
            return max(0.0, self._due - self._clock())
