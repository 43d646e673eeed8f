"""What a session says, in order: the answer to a command leaves when the command's effect is in Redis.

So whoever has been told that a command was accepted finds it in force after the worker's death, too. A session whose
Redis does not answer goes on: nothing waits longer than `PATIENCE_S`, and what leaves unkept is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from cluster import metrics
from cluster.journal import Journal
from cluster.tasks import Tasks

PATIENCE_S = 0.25

Say = Callable[[], None]


class _Held(NamedTuple):
    say: Say
    asked: int
    until: float


class Outbox:
    """See the module. Use it inside the running loop."""

    def __init__(self, model: str, journal: Journal, tasks: Tasks) -> None:
        self._model = model
        self._journal = journal
        self._tasks = tasks
        self._held: deque[_Held] = deque()

    def put(self, say: Say, asked: int) -> None:
        """Say something when all that was put before has been said, and so much is kept (see `Journal.keep`)."""
        if not self._held and not asked:
            say()
            return
        self._held.append(_Held(say, asked, asyncio.get_running_loop().time() + PATIENCE_S))
        if len(self._held) == 1:
            self._tasks.start(self._run())

    def close(self, *, say: bool) -> None:
        """Say at once what waits; or nothing of it, because it is not to be kept."""
        held = list(self._held)
        self._held.clear()
        for each in held if say else ():
            each.say()

    async def _run(self) -> None:
        while self._held:
            held = self._held[0]
            await self._kept(held)
            if self._held and self._held[0] is held:
                self._held.popleft()
                held.say()

    async def _kept(self, held: _Held) -> None:
        try:
            async with asyncio.timeout_at(held.until):
                await self._journal.kept(held.asked)
        except TimeoutError:
            metrics.UNKEPT.labels(self._model).inc()
