"""A session's writes to Redis: newest state wins, under the session's epoch, retried while Redis is away.

A live session never waits for Redis. What it wants written is kept here and written as soon as it can be; a write that
finds a newer epoch means that the session belongs to another worker now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal, Self

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from redis.exceptions import RedisError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from cluster import metrics
from cluster.clock import SteadyClock
from cluster.records import Grant, SessionRecord
from cluster.store import RecordLost, Store
from models.snapshots import not_taken_up
from wire.http import SessionState

log = structlog.get_logger(__name__)

BEAT_S = 5.0
"""Of a session that writes nothing: how long it can be fenced, or lost by Redis, before its worker notices."""


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
    stream: bytes = b""
    version: Literal[1] = 1

    @classmethod
    def of(cls, data: bytes, stream: bytes) -> Self:
        """From the parts that the store keeps. Raises OtherVersion, and ValueError for a damaged one."""
        try:
            whole = cls.model_validate_json(data)
        except ValidationError as error:
            raise not_taken_up(error, "a snapshot") from None
        return whole.model_copy(update={"stream": stream}) if stream else whole

    def data(self) -> bytes:
        """All but the stream's bytes."""
        return self.model_dump_json(exclude={"stream"}).encode()


class Journal:
    """The writer of one session. `run` writes until cancelled or fenced; `fenced` is called then, once."""

    def __init__(self, store: Store, grant: Grant, fenced: Callable[[], None]) -> None:
        self._store = store
        self._grant = grant
        self._fenced = fenced
        self._record = grant.record
        self._clock = SteadyClock()
        self._fields: dict[str, Any] = {}
        self._snapshot: Callable[[], Snapshot] | None = None
        self._changed = False
        """Whether the snapshot is to be taken."""
        self._data = b""
        self._stream: bytes | None = None
        self._work = asyncio.Event()
        self._asked = self._done = 0
        self._over = False
        self._progress = asyncio.Event()
        self._retrying = AsyncRetrying(
            retry=retry_if_exception_type(RedisError),
            wait=wait_exponential(multiplier=0.1, max=5.0) + wait_random(0, 0.1),
            before_sleep=self._note_retry,
        )

    async def take_up(self, state: SessionState) -> bool:
        """The first write: the session is in this worker's hands; False if it no longer is. Raises RedisError."""
        self._fields = {"state": state.value}
        return await self._write_all()

    def note(self, **fields: Any) -> None:
        """Have fields of the record written."""
        self._fields |= fields
        self._ask()

    def keep(self, snapshot: Callable[[], Snapshot]) -> int:
        """Have a snapshot written; it is taken when its turn comes, so that a burst of changes costs one write.

        Returns what `kept` waits for.
        """
        self._snapshot, self._changed = snapshot, True
        return self._ask()

    @property
    def asked(self) -> int:
        """What `kept` waits for, to have all that was asked for so far."""
        return self._asked

    async def kept(self, asked: int) -> None:
        """Return when so much is written, or the session is fenced."""
        while self._done < asked and not self._over:
            await self._progress.wait()

    async def run(self) -> None:
        """Write what is asked for, and now and then that the session is there."""
        while True:
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._work.wait()
            except TimeoutError:
                self._fields.setdefault("state", self._record.state.value)
            self._work.clear()
            asked = self._asked
            owned: bool = await self._retrying(self._write_all)
            self._done, self._over = asked, not owned
            self._progress.set()
            self._progress = asyncio.Event()
            if not owned:
                log.warning("session_fenced", session_id=self._grant.session_id, epoch=self._grant.epoch)
                self._fenced()
                return

    async def end(self, state: SessionState, reason: str) -> bool:
        """The last write; False if the session is another worker's. Raises RedisError: then its epoch will expire."""
        return await self._store.end(self._grant.tenant, self._grant.session_id, state, reason, self._grant.epoch)

    def _ask(self) -> int:
        self._asked += 1
        self._work.set()
        return self._asked

    async def _write_all(self) -> bool:
        try:
            return await self._write_fields() and await self._write_snapshot()
        except RecordLost:
            if self._clock.now() > self._grant.deadline:
                return False
            await self._enter_again()
            return await self._write_fields() and await self._write_snapshot()

    async def _enter_again(self) -> None:
        """Redis came back without its data: the session is entered as its holder knows it."""
        log.warning("record_lost", session_id=self._grant.session_id, epoch=self._grant.epoch)
        self._data, self._stream, self._changed = b"", None, True
        await self._store.create(self._record)

    async def _write_fields(self) -> bool:
        if not self._fields:
            return True
        fields = dict(self._fields)
        owned = await self._store.update(self._grant.tenant, self._grant.session_id, self._grant.epoch, **fields)
        self._record = SessionRecord.model_validate({**self._record.model_dump(), **fields})
        self._fields = {name: value for name, value in self._fields.items() if fields.get(name) != value}
        return owned

    async def _write_snapshot(self) -> bool:
        if self._snapshot is None or not self._changed:
            return True
        self._changed = False
        try:
            return await self._save(self._snapshot())
        except (RedisError, RecordLost):
            self._changed = True
            raise

    async def _save(self, snapshot: Snapshot) -> bool:
        data = await asyncio.to_thread(snapshot.data)
        stream = None if snapshot.stream == self._stream else snapshot.stream
        if data == self._data and stream is None:
            return True
        started = time.perf_counter()
        tenant, session_id, epoch = self._grant.tenant, self._grant.session_id, self._grant.epoch
        owned = await self._store.save_snapshot(tenant, session_id, epoch, data, stream)
        metrics.SNAPSHOT.labels(self._grant.model).observe(time.perf_counter() - started)
        metrics.SNAPSHOT_BYTES.labels(self._grant.model).inc(len(data) + len(stream or b""))
        self._data, self._stream = data, snapshot.stream
        return owned

    def _note_retry(self, state: RetryCallState) -> None:
        metrics.STORE_RETRIES.labels(self._grant.model).inc()
        if state.attempt_number == 1:
            log.warning("redis_unavailable", during="session write", session_id=self._grant.session_id)
