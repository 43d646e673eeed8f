"""What Redis holds of those who wait: it lives for as long as they do, and is entered again where Redis has lost it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable

import structlog
from redis.exceptions import RedisError

from cluster.records import SessionRecord, Ticket
from cluster.store import RecordUnreadable, Store

log = structlog.get_logger(__name__)

LOOK_S = 5.0
"""How long a waiter's record can be gone unnoticed, if nobody grants the session anything in between."""
KEEPINGS = 4
"""In the time that a record lives at least: so many can fail."""


class Upkeep:
    """`waiting` gives the tickets of all who wait, `asked` says for whom of them a client still asks. `gone` is told of
    those that cannot be entered again.
    """

    def __init__(
        self,
        store: Store,
        record_ttl_s: float,
        waiting: Callable[[], Iterable[Ticket]],
        asked: Callable[[Ticket], bool],
        gone: Callable[[Ticket], None],
    ) -> None:
        self._store = store
        self._keep_every_s = record_ttl_s / KEEPINGS
        self._waiting = waiting
        self._asked = asked
        self._gone = gone

    async def run(self) -> None:
        """Look after them until cancelled."""
        kept_at = -math.inf
        while True:
            try:
                await self._enter_lost()
                if time.monotonic() - kept_at >= self._keep_every_s:
                    await self._store.keep(
                        [(each.tenant, each.session_id) for each in self._waiting() if self._asked(each)]
                    )
                    kept_at = time.monotonic()
            except (RedisError, RecordUnreadable):
                log.warning("redis_unavailable", during="upkeep")
            await asyncio.sleep(LOOK_S)

    async def enter_again(self, ticket: Ticket) -> SessionRecord | None:
        """The record of a waiter that had none; None if its ticket does not know enough. Raises RecordUnreadable."""
        if ticket.entry is None:
            return None
        record = SessionRecord.model_validate_json(ticket.entry)
        if await self._store.restore(record):
            log.warning("record_lost", session_id=ticket.session_id)
        return await self._store.get(ticket.tenant, ticket.session_id)

    async def _enter_lost(self) -> None:
        tickets = {(ticket.tenant, ticket.session_id): ticket for ticket in self._waiting()}
        for key in await self._store.lost(list(tickets)):
            if await self.enter_again(tickets[key]) is None:
                self._gone(tickets[key])
