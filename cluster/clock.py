"""Time that only passes, said in unix seconds."""

from __future__ import annotations

import time
from collections.abc import Callable


class SteadyClock:
    """Read from the wall clock once, when it is made, and from then on counted by the monotonic one: whoever sets the
    machine's clock lengthens and shortens nothing that is measured here."""

    def __init__(
        self, wall: Callable[[], float] | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall or (lambda: time.time())  # looked up at each call, so that a test can set the clock
        self._monotonic = monotonic
        self._offset = self._wall() - monotonic()

    def now(self) -> float:
        """Seconds."""
        return self._monotonic() + self._offset

    def of(self, unix_s: float) -> float:
        """A moment that somebody has written down by the wall clock: as far from now as it is by that clock."""
        return self.now() + (unix_s - self._wall())
