"""Virtual time: what is to happen, in the order of its times."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Clock:
    """Seconds from 0 on. Of things that happen at one time, the one that was planned first goes first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = count()
        self._events: list[tuple[float, int, Callable[[], object]]] = []

    def at(self, time: float, what: Callable[[], object]) -> None:
        """Plan something; what is late happens next."""
        heapq.heappush(self._events, (max(time, self.now), next(self._numbers), what))

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        """Plan something from now."""
        self.at(self.now + seconds, what)

    def run(self, until: float, after_each: Callable[[], object]) -> None:
        """Let everything happen that is planned by then; `after_each` event this is called."""
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
            after_each()
        self.now = until
