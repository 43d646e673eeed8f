"""A session's writes to Redis: newest state wins, under the session's epoch, retried while Redis is away.

A live session never waits for Redis. What it wants written is kept here and written as soon as it can be; a write that
finds a newer epoch means that the session belongs to another worker now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict
from redis.exceptions import RedisError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from cluster import metrics
from cluster.records import Grant
from cluster.store import Store
from wire.http import SessionState

log = structlog.get_logger(__name__)


class Snapshot(BaseModel):
    """What another worker needs to go on: the director's state at the last boundary and the stream's bytes there."""

    model_config = ConfigDict(
        frozen=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
        hide_input_in_errors=True,  # it holds prompts
    )

    model: str
    director: dict[str, Any]
    stream: bytes
    version: int = 1


def _encoded(snapshot: Snapshot) -> bytes:
    return snapshot.model_dump_json().encode()


class Journal:
    """The writer of one session. `run` writes until cancelled or fenced; `fenced` is called then, once."""

    def __init__(self, store: Store, grant: Grant, fenced: Callable[[], None]) -> None:
        self._store = store
        self._grant = grant
        self._fenced = fenced
        self._fields: dict[str, Any] = {}
        self._snapshot: Callable[[], Snapshot] | None = None
        self._written = b""
        self._work = asyncio.Event()
        self._retrying = AsyncRetrying(
            retry=retry_if_exception_type(RedisError),
            wait=wait_exponential(multiplier=0.1, max=5.0) + wait_random(0, 0.1),
            before_sleep=self._note_retry,
        )

    async def take_up(self, state: SessionState) -> bool:
        """The first write: the session is in this worker's hands; False if it no longer is. Raises RedisError."""
        tenant, session_id = self._grant.tenant, self._grant.session_id
        return await self._store.update(tenant, session_id, self._grant.epoch, state=state.value)

    def note(self, **fields: Any) -> None:
        """Have fields of the record written."""
        self._fields |= fields
        self._work.set()

    def keep(self, snapshot: Callable[[], Snapshot]) -> None:
        """Have a snapshot written; it is taken when its turn comes, so that a burst of changes costs one write."""
        self._snapshot = snapshot
        self._work.set()

    async def run(self) -> None:
        """Write what is asked for."""
        while True:
            await self._work.wait()
            self._work.clear()
            if not (await self._retrying(self._write_fields) and await self._retrying(self._write_snapshot)):
                log.warning("session_fenced", session_id=self._grant.session_id, epoch=self._grant.epoch)
                self._fenced()
                return

    async def end(self, state: SessionState, reason: str) -> bool:
        """The last write; False if the session is another worker's. Raises RedisError: then its epoch will expire."""
        return await self._store.end(self._grant.tenant, self._grant.session_id, state, reason, self._grant.epoch)

    async def _write_fields(self) -> bool:
        if not self._fields:
            return True
        fields = dict(self._fields)
        owned = await self._store.update(self._grant.tenant, self._grant.session_id, self._grant.epoch, **fields)
        self._fields = {name: value for name, value in self._fields.items() if fields.get(name) != value}
        return owned

    async def _write_snapshot(self) -> bool:
        if self._snapshot is None:
            return True
        data = await asyncio.to_thread(_encoded, self._snapshot())  # of some megabytes, where there are latents in it
        if data == self._written:
            return True
        started = time.perf_counter()
        owned = await self._store.save_snapshot(self._grant.tenant, self._grant.session_id, self._grant.epoch, data)
        metrics.SNAPSHOT.labels(self._grant.model).observe(time.perf_counter() - started)
        self._written = data
        return owned

    def _note_retry(self, state: RetryCallState) -> None:
        metrics.STORE_RETRIES.labels(self._grant.model).inc()
        if state.attempt_number == 1:
            log.warning("redis_unavailable", during="session write", session_id=self._grant.session_id)
