"""Redis: sessions, epochs, snapshots. Every key carries the cluster and, where a session is meant, its tenant.

    <cluster>:<tenant>:session:<id>    hash, `SessionRecord`; expires
    <cluster>:<tenant>:snapshot:<id>   bytes; expires
    <cluster>:<tenant>:open            set of ids of sessions that are not over
    <cluster>:open                     set of `<tenant>/<id>`, from which the allocator rebuilds its queue

A worker writes through `update` and `save_snapshot`, which compare its epoch with the record's in one Lua step; a write
of a former owner changes nothing and answers False. Redis 6.2 commands only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import Redis

from cluster.records import SessionRecord
from cluster.settings import Settings
from wire.http import SessionState

_GRANT = """
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'CLOSED' or state == 'INACTIVE' then return 0 end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'worker', ARGV[1])
if tonumber(redis.call('HGET', KEYS[1], 'started_at')) == 0 then redis.call('HSET', KEYS[1], 'started_at', ARGV[2]) end
return epoch
"""

_UPDATE = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""

_SNAPSHOT = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[2])
return 1
"""

_END = """
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 0 end
if ARGV[5] ~= '' and redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[5] then return 0 end
redis.call('SREM', KEYS[3], ARGV[4])
redis.call('SREM', KEYS[4], ARGV[6])
if state == 'CLOSED' then return 1 end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'reason', ARGV[2], 'worker', '')
redis.call('EXPIRE', KEYS[1], ARGV[3])
if ARGV[1] == 'CLOSED' then redis.call('DEL', KEYS[2]) else redis.call('EXPIRE', KEYS[2], ARGV[7]) end
return 1
"""

_REOPEN = """
if redis.call('HGET', KEYS[1], 'state') ~= 'INACTIVE' then return 0 end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'state', 'PENDING', 'reason', '', 'worker', '', 'started_at', '0.0', 'moves', '0')
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[3])
return 1
"""


def text(value: bytes | str) -> str:
    """A reply of Redis as text."""
    return value.decode() if isinstance(value, bytes) else value


def _record(fields: dict[Any, Any]) -> SessionRecord | None:
    return SessionRecord.from_redis({text(name): text(value) for name, value in fields.items()}) if fields else None


class Store:
    """The sessions of one cluster in Redis. Raises redis-py's `RedisError` when Redis does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.redis = redis
        self._cluster = settings.cluster
        self._record_ttl = settings.limits.record_ttl_s
        self._live_ttl = settings.limits.max_session_s + settings.limits.record_ttl_s
        self._snapshot_ttl = settings.limits.snapshot_ttl_s
        self._live_snapshot_ttl = settings.limits.max_session_s + settings.limits.snapshot_ttl_s
        self._grant, self._update, self._snapshot, self._end, self._reopen = (
            redis.register_script(source) for source in (_GRANT, _UPDATE, _SNAPSHOT, _END, _REOPEN)
        )

    async def create(self, record: SessionRecord) -> None:
        """Enter a new session."""
        key = self._session(record.tenant, record.session_id)
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping=record.to_redis())
            pipe.expire(key, max(self._live_ttl, record.max_duration_s + self._record_ttl))
            pipe.sadd(self._open(record.tenant), record.session_id)
            pipe.sadd(f"{self._cluster}:open", f"{record.tenant}/{record.session_id}")
            await pipe.execute()

    async def get(self, tenant: str, session_id: str) -> SessionRecord | None:
        """The record, None if there is none (or it has expired)."""
        return _record(await self.redis.hgetall(self._session(tenant, session_id)))

    async def get_many(self, keys: Sequence[tuple[str, str]]) -> list[SessionRecord | None]:
        """The records of pairs of tenant and id, in their order, by one exchange with Redis."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for tenant, session_id in keys:
                pipe.hgetall(self._session(tenant, session_id))
            return [_record(fields) for fields in await pipe.execute()]

    async def open_of(self, tenant: str) -> list[SessionRecord]:
        """The tenant's sessions that are not over."""
        ids = sorted(text(name) for name in await self.redis.smembers(self._open(tenant)))
        return [record for sid in ids if (record := await self._live(tenant, sid)) is not None]

    async def all_open(self) -> AsyncIterator[SessionRecord]:
        """Every session of the cluster that is not over."""
        async for member in self.redis.sscan_iter(f"{self._cluster}:open"):
            tenant, _, session_id = text(member).rpartition("/")
            if (record := await self._live(tenant, session_id)) is not None:
                yield record

    async def grant(self, tenant: str, session_id: str, worker: str, now: float) -> int:
        """Give the session to a worker: the new epoch, 0 if the session is over."""
        return int(await self._grant(keys=[self._session(tenant, session_id)], args=[worker, now]))

    async def update(self, tenant: str, session_id: str, epoch: int, **fields: Any) -> bool:
        """Change fields of the record under an epoch; False if the epoch is no longer the session's."""
        pairs = [part for name, value in fields.items() for part in (name, str(value))]
        keys = [self._session(tenant, session_id)]
        return bool(await self._update(keys=keys, args=[epoch, self._live_ttl, *pairs]))

    async def save_snapshot(self, tenant: str, session_id: str, epoch: int, data: bytes) -> bool:
        """Keep a snapshot under an epoch; False if the epoch is no longer the session's."""
        keys = [self._session(tenant, session_id), self._snapshot_key(tenant, session_id)]
        return bool(await self._snapshot(keys=keys, args=[epoch, self._live_snapshot_ttl, data]))

    async def plant_snapshot(self, tenant: str, session_id: str, data: bytes) -> None:
        """Give a session that has yet to be entered the snapshot that it shall start from."""
        await self.redis.set(self._snapshot_key(tenant, session_id), data, ex=self._live_snapshot_ttl)

    async def load_snapshot(self, tenant: str, session_id: str) -> bytes | None:
        """The newest snapshot."""
        data = await self.redis.get(self._snapshot_key(tenant, session_id))
        return data.encode() if isinstance(data, str) else data

    async def end(
        self, tenant: str, session_id: str, state: SessionState, reason: str, epoch: int | None = None
    ) -> bool:
        """Make the session CLOSED or INACTIVE and fence its owner. With an epoch, only if that is still the session's.

        Idempotent; False if there is no such session or the epoch is old. An INACTIVE session keeps its snapshot.
        """
        keys = [
            self._session(tenant, session_id),
            self._snapshot_key(tenant, session_id),
            self._open(tenant),
            f"{self._cluster}:open",
        ]
        fence = "" if epoch is None else str(epoch)
        member = f"{tenant}/{session_id}"
        args = [state.value, reason, self._record_ttl, session_id, fence, member, self._snapshot_ttl]
        return bool(await self._end(keys=keys, args=args))

    async def reopen(self, tenant: str, session_id: str) -> bool:
        """Make an INACTIVE session PENDING again; False if it is not INACTIVE."""
        keys = [self._session(tenant, session_id), self._open(tenant), f"{self._cluster}:open"]
        return bool(await self._reopen(keys=keys, args=[self._live_ttl, session_id, f"{tenant}/{session_id}"]))

    async def _live(self, tenant: str, session_id: str) -> SessionRecord | None:
        record = await self.get(tenant, session_id)
        if record is None:  # expired: the sets have no expiry of their own
            await self.redis.srem(self._open(tenant), session_id)
            await self.redis.srem(f"{self._cluster}:open", f"{tenant}/{session_id}")
        return record

    def _session(self, tenant: str, session_id: str) -> str:
        return f"{self._cluster}:{tenant}:session:{session_id}"

    def _snapshot_key(self, tenant: str, session_id: str) -> str:
        return f"{self._cluster}:{tenant}:snapshot:{session_id}"

    def _open(self, tenant: str) -> str:
        return f"{self._cluster}:{tenant}:open"
