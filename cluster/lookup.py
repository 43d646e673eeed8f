"""From a session's id and tenant to its record and its worker, with every failure as an error of the cluster.

Clients give up on one refusal, so calls for a session that is between two workers are held until the next one has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

from cluster.api import WorkerApi, WorkerGone
from cluster.errors import NotFound, NotReady, Unavailable
from cluster.records import TERMINAL, SessionRecord
from cluster.store import Store

T = TypeVar("T")

LOOK_EVERY_S = 0.05

WorkerOf = Callable[[str], Awaitable[WorkerApi]]
"""A worker's handle by name; raises WorkerGone."""


async def answered(call: Awaitable[T]) -> T:
    """What Redis says. Raises Unavailable when it says nothing."""
    try:
        return await call
    except RedisError as error:
        raise Unavailable("the session registry does not answer") from error


class Lookup:
    """Of the sessions of one cluster. All methods raise NotFound and Unavailable."""

    def __init__(self, store: Store, worker_of: WorkerOf, move_wait_s: float) -> None:
        self._store = store
        self._worker_of = worker_of
        self._move_wait_s = move_wait_s

    async def record(self, tenant: str, session_id: str) -> SessionRecord:
        """The session's record; a foreign one is not found."""
        record = await answered(self._store.get(tenant, session_id))
        if record is None:
            raise NotFound(f"no session {session_id}")
        return record

    async def open_record(self, tenant: str, session_id: str) -> SessionRecord:
        """The record of a session that is not over."""
        record = await self.record(tenant, session_id)
        if record.state in TERMINAL:
            raise NotFound(f"session {session_id} is {record.state.value}")
        return record

    async def on_worker(self, tenant: str, session_id: str, call: Callable[[WorkerApi], Awaitable[T]]) -> T:
        """What the session's worker answers. Raises NotReady, and what the worker raises.

        A session that had a worker is waited for, as it is about to have one again.
        """
        limit = time.monotonic() + self._move_wait_s
        while True:
            record = await self.open_record(tenant, session_id)
            try:
                return await self._ask(record, call)
            except (NotReady, Unavailable):
                if not record.started_at or time.monotonic() > limit:
                    raise
            await asyncio.sleep(LOOK_EVERY_S)

    async def _ask(self, record: SessionRecord, call: Callable[[WorkerApi], Awaitable[T]]) -> T:
        if not record.worker:
            raise NotReady("the session waits for a worker")
        try:
            return await call(await self._worker_of(record.worker))
        except WorkerGone:
            raise Unavailable("the session's worker is gone; the session is moving to another one") from None
        except NotFound as error:
            if type(error) is not NotFound:
                raise
            raise NotReady("the session's worker does not have it yet, or no longer") from None
