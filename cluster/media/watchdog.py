"""Notices that a client has gone silent, long before ICE does (31 s)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watchdog:
    """Calls `expired` once when `timeout_s` have passed without a sign of life. Used in one loop."""

    def __init__(self, timeout_s: float, expired: Callable[[], None], clock: Callable[[], float]) -> None:
        self._timeout_s = timeout_s
        self._expired = expired
        self._clock = clock
        self._last = clock()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch, or begin anew."""
        self.stop()
        self.alive()
        self.check()

    def alive(self) -> None:
        """A sign of life."""
        self._last = self._clock()

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def check(self) -> None:
        """Look at the clock now; runs by itself when the time may be up."""
        self.stop()
        left = self._last + self._timeout_s - self._clock()
        if left <= 0:
            self._expired()
        else:
            self._timer = asyncio.get_running_loop().call_later(left, self.check)
