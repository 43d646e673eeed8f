"""Moments of sessions, kept under ids of their own, from which their account or a granted one starts other sessions.

<cluster>:saved:<id>           hash: `record` (JSON), `data` (a session's snapshot), `events` (its log); expires
<cluster>:<tenant>:saved       set of the account's ids
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.asyncio import Redis

from cluster.errors import Conflict, NotFound, QuotaExceeded
from cluster.journal import Snapshot
from cluster.records import SessionRecord
from cluster.settings import Settings
from cluster.store import Store, text
from wire.http import SavedSnapshot

log = structlog.get_logger(__name__)

Log = Callable[[], Awaitable[bytes | None]]
"""Gets a session's log (`models.events`); None where no worker has it."""


class SavedRecord(BaseModel):
    """Whose a saved snapshot is. `grants` are the other accounts that may start a session from it."""

    model_config = ConfigDict(frozen=True)

    snapshot_id: str = Field(default_factory=lambda: secrets.token_urlsafe(16))
    tenant: str
    model: str
    name: str
    created_at: int
    expires_at: int
    grants: tuple[str, ...] = ()
    events: bool = False
    """Whether the log is kept too."""

    def view(self) -> SavedSnapshot:
        """As its account may see it."""
        return SavedSnapshot.model_validate(self.model_dump(include=set(SavedSnapshot.model_fields)))


class SavedSnapshots:
    """The saved snapshots of a cluster. Raises redis-py's `RedisError` when Redis does not answer."""

    def __init__(self, redis: Redis, store: Store, settings: Settings) -> None:
        self._redis = redis
        self._store = store
        self._cluster = settings.cluster
        self._ttl_s = settings.limits.saved_ttl_s
        self._most = settings.limits.max_saved_snapshots

    async def save(self, session: SessionRecord, name: str, grants: Sequence[str], log: Log) -> SavedRecord:
        """Keep a session's newest snapshot, and the log that led there if there is one to be had.

        Raises:
            Conflict: the session has none: nobody has directed it yet, or it is closed; or it cannot be read.
            QuotaExceeded: the account keeps as many as it may.
        """
        parts = await self._store.load_snapshot(session.tenant, session.session_id)
        if parts is None:
            raise Conflict("the session has no state to save")
        if len(await self.all_of(session.tenant)) >= self._most:
            raise QuotaExceeded(f"at most {self._most} saved snapshots")
        events = await log()  # now: what has led to the snapshot is in it
        now = int(time.time())
        record = SavedRecord(
            tenant=session.tenant,
            model=session.model,
            name=name,
            created_at=now,
            expires_at=now + self._ttl_s,
            grants=tuple(grants),
            events=events is not None,
        )
        try:
            data = Snapshot.of(*parts).model_dump_json().encode()
        except ValueError:
            raise Conflict("the session's state cannot be read") from None
        await self._write(record, {"data": data} | ({} if events is None else {"events": events}))
        return record

    async def all_of(self, tenant: str) -> list[SavedRecord]:
        """The account's own, oldest first."""
        ids = [text(name) for name in await self._redis.smembers(self._index(tenant))]
        found = {snapshot_id: await self._record(snapshot_id) for snapshot_id in ids}
        if gone := [snapshot_id for snapshot_id, record in found.items() if record is None]:
            await self._redis.srem(self._index(tenant), *gone)  # expired: the set has no expiry of its own
        return sorted((record for record in found.values() if record), key=lambda r: (r.created_at, r.snapshot_id))

    async def find(self, tenant: str, snapshot_id: str) -> SavedRecord:
        """One that the account may start from. Raises NotFound, for a foreign one as for one that never was."""
        record = await self._record(snapshot_id)
        if record is None or tenant not in (record.tenant, *record.grants):
            raise NotFound(f"no snapshot {snapshot_id}")
        return record

    async def data(self, snapshot_id: str) -> bytes:
        """What a session takes up. Raises NotFound."""
        return await self._bytes(snapshot_id, "data")

    async def events(self, tenant: str, snapshot_id: str) -> bytes:
        """The log of one of the account's own: what others may start from tells them nothing of how it came to be.

        Raises:
            NotFound: there is no such snapshot, or it has no log.
        """
        if (await self.find(tenant, snapshot_id)).tenant != tenant:
            raise NotFound(f"no snapshot {snapshot_id}")
        return await self._bytes(snapshot_id, "events")

    async def delete(self, tenant: str, snapshot_id: str) -> None:
        """Forget one of the account's own; sessions started from it go on. Raises NotFound."""
        if (await self.find(tenant, snapshot_id)).tenant != tenant:
            raise NotFound(f"no snapshot {snapshot_id}")
        await self._redis.delete(self._key(snapshot_id))
        await self._redis.srem(self._index(tenant), snapshot_id)

    async def _bytes(self, snapshot_id: str, field: str) -> bytes:
        data = await self._redis.hget(self._key(snapshot_id), field)
        if data is None:
            raise NotFound(f"no {field} of snapshot {snapshot_id}")
        return data.encode() if isinstance(data, str) else bytes(data)

    async def _write(self, record: SavedRecord, parts: Mapping[str, bytes]) -> None:
        key = self._key(record.snapshot_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            fields: dict[Any, Any] = {"record": record.model_dump_json(), **parts}
            pipe.hset(key, mapping=fields)
            pipe.expire(key, self._ttl_s)
            pipe.sadd(self._index(record.tenant), record.snapshot_id)
            await pipe.execute()

    async def _record(self, snapshot_id: str) -> SavedRecord | None:
        record = await self._redis.hget(self._key(snapshot_id), "record")
        try:
            return None if record is None else SavedRecord.model_validate_json(record)
        except ValidationError:
            log.error("record_unreadable", snapshot_id=snapshot_id)
            return None

    def _key(self, snapshot_id: str) -> str:
        return f"{self._cluster}:saved:{snapshot_id}"

    def _index(self, tenant: str) -> str:
        return f"{self._cluster}:{tenant}:saved"
