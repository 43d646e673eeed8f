"""Whose chunk is next on the device: one at a time, and of those that wait the earliest playout deadline first."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class Arbiter:
    """A mutex whose waiters are ordered by deadline (ties: first come, first served)."""

    def __init__(self) -> None:
        self._busy = False
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self._ticks = count()

    @asynccontextmanager
    async def turn(self, deadline: float) -> AsyncIterator[None]:
        """Hold the device. `deadline` is when the session's playout runs dry, on any clock all sessions share."""
        if self._busy:
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._queue, (deadline, next(self._ticks), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._pass_on()  # the turn was given in the moment of the cancellation
                raise
        self._busy = True
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._queue:
            _, _, waiter = heapq.heappop(self._queue)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._busy = False
