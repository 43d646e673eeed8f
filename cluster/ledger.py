"""What a process counts of accounts' usage, written to Redis every few seconds and when a session's count ends.

What cannot be written is kept and written later; a process that is killed loses what it has counted since the last
write. Lengths are told by a clock that only passes; the day that they belong to, by the wall clock.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from cluster import metrics
from cluster.usage import Claim, Counted, Counts, Entry, State, UsageStore, by_day, day_of

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 10.0
RETRY_S = 2.0
PATIENCE_S = 60.0
"""How long a process that has nothing else left to do waits for Redis."""


class Counting(Protocol):
    """Something that counts as time passes."""

    def count(self) -> None:
        """Enter what has passed since the last time."""
        ...


class Ledger:
    """One per process. `idle` is called when nothing is left to write, or Redis has been away for too long."""

    def __init__(
        self,
        store: UsageStore,
        idle: Callable[[], None] = lambda: None,
        *,
        wall: Callable[[], float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.monotonic = monotonic
        self._store = store
        self._idle = idle
        self._wall = wall or (lambda: time.time())  # looked up at each call, so that a test can set the clock
        self._writer = uuid.uuid4().hex
        self._number = 0
        self._counting: set[Counting] = set()
        self._open: defaultdict[Claim | None, Counts] = defaultdict(Counter)
        self._batch: list[Entry] = []
        """On its way, or to be sent again as it is."""
        self._away_since: float | None = None
        self._asked = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether there is something to write that is worth waiting for."""
        away_s = 0.0 if self._away_since is None else self.monotonic() - self._away_since
        return bool(self._open or self._batch) and away_s < PATIENCE_S

    # --- counting ---------------------------------------------------------------------------------------------------

    def begin(self, counting: Counting) -> None:
        """Have it count before each write."""
        self._counting.add(counting)

    def end(self, counting: Counting) -> None:
        """It has counted for the last time; have that written."""
        self._counting.discard(counting)
        self._asked.set()

    def add(self, tenant: str, model: str, measure: str, count: int, claim: Claim | None = None) -> None:
        """Count something of today."""
        self._enter(claim, Counted(tenant, day_of(self._wall()), model, measure), count)

    def spent(self, tenant: str, model: str, state: State, ms: int, claim: Claim | None = None) -> None:
        """A session has been in a state for so long, until now."""
        metrics.SESSION_SECONDS.labels(model, state.value).inc(ms / 1000)
        self.lasted(tenant, model, f"{state.value}_ms", ms, claim)

    def lasted(self, tenant: str, model: str, measure: str, ms: int, claim: Claim | None = None) -> None:
        """Something has lasted for so long, until now: of each day its part."""
        for day, part_ms in by_day(self._wall(), ms):
            self._enter(claim, Counted(tenant, day, model, measure), part_ms)

    def _enter(self, claim: Claim | None, what: Counted, count: int) -> None:
        if count and not (claim is not None and claim.lost):
            self._open[claim][what] += count

    # --- writing ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_EVERY_S if self._away_since is None else RETRY_S):
                    await self._asked.wait()
            self._asked.clear()
            held_back = bool(self._open or self._batch)
            with suppress(RedisError):
                await self.write()
            if held_back and not self.busy:
                self._idle()

    async def write(self) -> None:
        """Write all that was counted. Raises RedisError: it is kept, for the next time."""
        try:
            await self._send()  # what an earlier time has left
            for counting in self._counting:
                counting.count()
            self._batch = [Entry(claim, counts) for claim, counts in self._open.items()]
            self._open.clear()
            self._number += 1
            await self._send()
        except RedisError:
            if self._away_since is None:
                self._away_since = self.monotonic()
                log.warning("redis_unavailable", during="usage")
            raise
        self._away_since = None

    async def _send(self) -> None:
        if not self._batch:
            return
        for claim in await self._store.add(self._writer, self._number, self._batch):
            claim.lost = True
            self._open.pop(claim, None)
        self._batch = []

    async def close(self) -> None:
        """Write once more, after `run` has ended."""
        try:
            await self.write()
        except RedisError:
            log.error("usage_lost", entries=len(self._batch) + len(self._open))
