"""Redis: sessions, epochs, snapshots. Every key carries the cluster and, where a session is meant, its tenant.

    <cluster>:<tenant>:session:<id>    hash, `SessionRecord`; expires
    <cluster>:<tenant>:snapshot:<id>   hash: `data`, and `stream`, which is big and changes with every chunk; expires
    <cluster>:<tenant>:open            set of ids of sessions that are not over
    <cluster>:<tenant>:created         sorted set of ids by time, see `cluster.quota`; expires
    <cluster>:open                     set of `<tenant>/<id>`, from which the allocator rebuilds its queue

A worker writes through `update` and `save_snapshot`, which compare its epoch with the record's in one Lua step; a write
of a former owner changes nothing and answers False. Redis 6.2 commands only.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis

from cluster.errors import Unavailable
from cluster.quota import LUA, Quota
from cluster.records import SessionRecord
from cluster.settings import Settings
from wire.http import SessionState

# KEYS: record, open, open of all, created, snapshot. ARGV: quota, prefix of records, session id, member, ttl,
# snapshot's ttl, snapshot, fields of the record.
_CREATE = (
    LUA
    + """
local now = now_ms()
local limit, retry_ms = refused(cjson.decode(ARGV[1]), KEYS[2], KEYS[4], ARGV[2], now)
if limit then return {limit, retry_ms} end
redis.call('HSET', KEYS[1], unpack(ARGV, 8))
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[4])
redis.call('ZADD', KEYS[4], now, ARGV[3])
redis.call('PEXPIRE', KEYS[4], cjson.decode(ARGV[1]).window)
redis.call('DEL', KEYS[5])
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[5], 'data', ARGV[7])
  redis.call('EXPIRE', KEYS[5], ARGV[6])
end
return {'', 0}
"""
)

# KEYS: record, open, open of all. ARGV: session id, member, ttl, fields of the record.
_RESTORE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('SADD', KEYS[3], ARGV[2])
return 1
"""

_GRANT = """
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'CLOSED' or state == 'INACTIVE' then return 0 end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'worker', ARGV[1])
if tonumber(redis.call('HGET', KEYS[1], 'started_at')) == 0 then redis.call('HSET', KEYS[1], 'started_at', ARGV[2]) end
return epoch
"""

_OWNED = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then return -1 end
if epoch ~= ARGV[1] then return 0 end
"""

_UPDATE = (
    _OWNED
    + """
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""
)

_SNAPSHOT = (
    _OWNED
    + """
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
"""
)

# KEYS: record, snapshot. ARGV: their ttls.
_KEEP = """
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'CLOSED' or state == 'INACTIVE' then return end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
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

# KEYS: record, open, open of all, created. ARGV: quota, prefix of records, session id, member, ttl, now.
_REOPEN = (
    LUA
    + """
if redis.call('HGET', KEYS[1], 'state') ~= 'INACTIVE' then return {'state', 0} end
local limit, retry_ms = refused(cjson.decode(ARGV[1]), KEYS[2], KEYS[4], ARGV[2], now_ms())
if limit then return {limit, retry_ms} end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'state', 'PENDING', 'reason', '', 'worker', '', 'started_at', '0.0', 'moves', '0',
  'queued_at', ARGV[6])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[4])
return {'', 0}
"""
)

log = structlog.get_logger(__name__)

NO_LIMITS = Quota()
BATCH = 50
"""Records of one exchange with Redis: they are read without a pause, for some milliseconds."""


MEMBERS = 1000
"""Members of a set of one exchange."""


def text(value: bytes | str) -> str:
    """A reply of Redis as text."""
    return value.decode() if isinstance(value, bytes) else value


def _record(fields: dict[Any, Any]) -> SessionRecord | None:
    """The record of a hash, None of an empty one. Raises RecordUnreadable."""
    if not fields:
        return None
    try:
        return SessionRecord.from_redis({text(name): text(value) for name, value in fields.items()})
    except (KeyError, ValueError) as error:  # no text, a member too few, or one that means nothing
        raise RecordUnreadable("the session's record cannot be read") from error


def _fields(record: SessionRecord) -> list[Any]:
    return [part for pair in record.to_redis().items() for part in pair]


class RecordUnreadable(Unavailable):
    """What Redis has for a session is damaged, or written by another version."""


def _readable(key: tuple[str, str], fields: dict[Any, Any]) -> SessionRecord | None:
    try:
        return _record(fields)
    except RecordUnreadable as failure:
        log.error("record_unreadable", session_id=key[1], error=type(failure.__cause__).__name__)
        return None


class RecordLost(Exception):
    """A session that a worker holds has no record: Redis has been restarted without its data."""


def _owned(answer: Any) -> bool:
    if int(answer) < 0:
        raise RecordLost
    return bool(answer)


class Store:
    """The sessions of one cluster in Redis. Raises redis-py's `RedisError` when Redis does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.redis = redis
        self._cluster = settings.cluster
        self._record_ttl = settings.limits.record_ttl_s
        self._live_ttl = settings.limits.max_session_s + settings.limits.record_ttl_s
        self._snapshot_ttl = settings.limits.snapshot_ttl_s
        self._live_snapshot_ttl = settings.limits.max_session_s + settings.limits.snapshot_ttl_s
        self._create, self._restore, self._grant, self._update = (
            redis.register_script(source) for source in (_CREATE, _RESTORE, _GRANT, _UPDATE)
        )
        self._snapshot, self._keep, self._end, self._reopen = (
            redis.register_script(source) for source in (_SNAPSHOT, _KEEP, _END, _REOPEN)
        )

    async def create(self, record: SessionRecord, quota: Quota = NO_LIMITS, snapshot: bytes = b"") -> None:
        """Enter a new session, with the snapshot that it shall start from, if its account may have one more.

        Raises:
            QuotaExceeded, CreationsExceeded, ScopeExhausted: nothing was entered.
        """
        tenant, session_id = record.tenant, record.session_id
        args = [*self._entry(quota, tenant, session_id), self._ttl(record), self._live_snapshot_ttl, snapshot]
        args += _fields(record)
        keys = [*self._entered(tenant, session_id), self._snapshot_key(tenant, session_id)]
        limit, retry_ms = await self._create(keys=keys, args=args)
        if limit:
            raise quota.refusal(text(limit), int(retry_ms))

    async def restore(self, record: SessionRecord) -> bool:
        """Enter a session again of which Redis has lost everything, whatever its account may have; False if it knows
        the session."""
        tenant, session_id = record.tenant, record.session_id
        args = [session_id, f"{tenant}/{session_id}", self._ttl(record), *_fields(record)]
        return bool(await self._restore(keys=self._entered(tenant, session_id)[:3], args=args))

    async def lost(self, keys: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of these open sessions, pairs of tenant and id, of which Redis knows nothing."""
        lost: list[tuple[str, str]] = []
        for start in range(0, len(keys), MEMBERS):
            some = keys[start : start + MEMBERS]
            members = [f"{tenant}/{session_id}" for tenant, session_id in some]
            there = await self.redis.smismember(f"{self._cluster}:open", members)
            lost += [key for key, entered in zip(some, there, strict=True) if not entered]
        return [key for key in lost if not await self.redis.exists(self._session(*key))]

    async def get(self, tenant: str, session_id: str) -> SessionRecord | None:
        """The record, None if there is none (or it has expired). Raises RecordUnreadable."""
        return _record(await self.redis.hgetall(self._session(tenant, session_id)))

    async def get_many(self, keys: Sequence[tuple[str, str]]) -> list[SessionRecord | None]:
        """The records of pairs of tenant and id, in their order, some hundred by one exchange with Redis; None for one
        that is not there or cannot be read."""
        found: list[SessionRecord | None] = []
        for start in range(0, len(keys), BATCH):
            async with self.redis.pipeline(transaction=False) as pipe:
                for tenant, session_id in keys[start : start + BATCH]:
                    pipe.hgetall(self._session(tenant, session_id))
                found += map(_readable, keys[start : start + BATCH], await pipe.execute())
        return found

    async def open_of(self, tenant: str) -> list[SessionRecord]:
        """The tenant's sessions that are not over."""
        ids = sorted(text(name) for name in await self.redis.smembers(self._open(tenant)))
        return await self._live([(tenant, session_id) for session_id in ids])

    async def all_open(self) -> AsyncIterator[SessionRecord]:
        """Every session of the cluster that is not over, in no order; a record that cannot be read is passed over."""
        members = [text(member).rpartition("/") async for member in self.redis.sscan_iter(f"{self._cluster}:open")]
        keys = list(dict.fromkeys((tenant, session_id) for tenant, _, session_id in members))
        for start in range(0, len(keys), BATCH):
            for record in await self._live(keys[start : start + BATCH]):
                yield record

    async def grant(self, tenant: str, session_id: str, worker: str, now: float) -> int:
        """Give the session to a worker: the new epoch, 0 if the session is over."""
        return int(await self._grant(keys=[self._session(tenant, session_id)], args=[worker, now]))

    async def update(self, tenant: str, session_id: str, epoch: int, **fields: Any) -> bool:
        """Change fields of the record under an epoch; False if the epoch is no longer the session's.

        Raises:
            RecordLost: there is no record: Redis has lost what it held.
        """
        pairs = [part for name, value in fields.items() for part in (name, str(value))]
        keys = [self._session(tenant, session_id)]
        return _owned(await self._update(keys=keys, args=[epoch, self._live_ttl, *pairs]))

    async def save_snapshot(
        self, tenant: str, session_id: str, epoch: int, data: bytes, stream: bytes | None = None
    ) -> bool:
        """Keep a snapshot under an epoch; without `stream`, what was kept of it stays. Returns and raises as
        `update`."""
        keys = [self._session(tenant, session_id), self._snapshot_key(tenant, session_id)]
        more = [] if stream is None else ["stream", stream]
        args: list[Any] = [epoch, self._live_snapshot_ttl, "data", data, *more]
        return _owned(await self._snapshot(keys=keys, args=args))

    async def keep(self, keys: Sequence[tuple[str, str]]) -> None:
        """Have sessions, pairs of tenant and id, and their snapshots live as if they were new, unless they are over."""
        ttls = [self._live_ttl, self._live_snapshot_ttl]
        for start in range(0, len(keys), BATCH):
            async with self.redis.pipeline(transaction=False) as pipe:
                for key in keys[start : start + BATCH]:
                    await self._keep(keys=[self._session(*key), self._snapshot_key(*key)], args=ttls, client=pipe)
                await pipe.execute()

    async def load_snapshot(self, tenant: str, session_id: str) -> tuple[bytes, bytes] | None:
        """The newest snapshot: `data` and `stream`."""
        found = await self.redis.hmget(self._snapshot_key(tenant, session_id), ["data", "stream"])
        data, stream = (part.encode() if isinstance(part, str) else part for part in found)
        return None if data is None else (data, stream or b"")

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

    async def reopen(self, tenant: str, session_id: str, quota: Quota = NO_LIMITS) -> bool:
        """Make an INACTIVE session PENDING again; False if it is not INACTIVE. Raises as `create`, changing nothing."""
        args = [*self._entry(quota, tenant, session_id), self._live_ttl, time.time()]
        limit, retry_ms = await self._reopen(keys=self._entered(tenant, session_id), args=args)
        if text(limit) == "state":
            return False
        if limit:
            raise quota.refusal(text(limit), int(retry_ms))
        return True

    async def _live(self, keys: Sequence[tuple[str, str]]) -> list[SessionRecord]:
        """The records that are there; what has expired leaves the sets, which have no expiry of their own."""
        found = await self.get_many(keys)
        for (tenant, session_id), record in zip(keys, found, strict=True):
            if record is None and not await self.redis.exists(self._session(tenant, session_id)):
                await self.redis.srem(self._open(tenant), session_id)
                await self.redis.srem(f"{self._cluster}:open", f"{tenant}/{session_id}")
        return [record for record in found if record is not None]

    def _ttl(self, record: SessionRecord) -> int:
        return max(self._live_ttl, record.max_duration_s + self._record_ttl)

    def _entered(self, tenant: str, session_id: str) -> list[str]:
        """Keys of what an open session is entered in."""
        own = self._session(tenant, session_id), self._open(tenant)
        return [*own, f"{self._cluster}:open", f"{self._cluster}:{tenant}:created"]

    def _entry(self, quota: Quota, tenant: str, session_id: str) -> list[Any]:
        """What is looked at, and entered."""
        return [quota.to_redis(), self._session(tenant, ""), session_id, f"{tenant}/{session_id}"]

    def _session(self, tenant: str, session_id: str) -> str:
        return f"{self._cluster}:{tenant}:session:{session_id}"

    def _snapshot_key(self, tenant: str, session_id: str) -> str:
        return f"{self._cluster}:{tenant}:snapshot:{session_id}"

    def _open(self, tenant: str) -> str:
        return f"{self._cluster}:{tenant}:open"
