"""What accounts have used, by UTC day, in Redis. Whole numbers: milliseconds, sessions, chunks, pictures.

    <cluster>:<tenant>:usage:<day>    hash: `<model>|<measure>`; expires `limits.usage_ttl_s` after the last write
    <cluster>:usage:<day>             set of the accounts that have used something on that day; expires likewise
    <cluster>:usage_writer:<id>       number of the last batch that a process has written; expires

A batch is written once, however often it is sent: a process that got no answer sends it again under the same number.
What was counted under an epoch is written while that is the session's, or once the session has ended under it; if
another worker has had the session since, it is refused, as that worker counts the same seconds.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from redis.asyncio import Redis

from cluster.settings import Settings
from cluster.store import text
from wire.usage import DayUsage, GpuSeconds, ModelUsage, SessionSeconds

WRITER_TTL_S = 86_400
DAY_MS = 86_400_000

# KEYS: the writer's. ARGV: the batch as `Usage.add` makes it. Returns the zero-based numbers of the refused entries.
_ADD = """
local batch = cjson.decode(ARGV[1])
if tonumber(redis.call('GET', KEYS[1]) or 0) >= batch.number then return {} end

local function owned(entry)
  if not entry.epoch then return true end
  local epoch, state = unpack(redis.call('HMGET', entry.record, 'epoch', 'state'))
  if not epoch or tonumber(epoch) == entry.epoch then return true end
  return (state == 'CLOSED' or state == 'INACTIVE') and tonumber(epoch) == entry.epoch + 1
end

local refused = {}
for place, entry in ipairs(batch.entries) do
  if owned(entry) then
    for _, used in ipairs(entry.used) do
      for field, count in pairs(used.counts) do redis.call('HINCRBY', used.key, field, count) end
      redis.call('SADD', used.index, used.tenant)
      redis.call('EXPIRE', used.key, batch.ttl)
      redis.call('EXPIRE', used.index, batch.ttl)
    end
  else
    refused[#refused + 1] = place - 1
  end
end
redis.call('SET', KEYS[1], batch.number, 'EX', batch.writer_ttl)
return refused
"""


class State(StrEnum):
    """What a session does; a label of `llc_session_seconds_total`. See `wire.usage`."""

    GENERATING = "generating"
    PAUSED = "paused"
    ORPHANED = "orphaned"
    WAITING = "waiting"


class Counted(NamedTuple):
    """What a number is of."""

    tenant: str
    day: date
    model: str
    measure: str


Counts = Counter[Counted]


@dataclass(slots=True, eq=False)
class Claim:
    """The epoch under which a worker counts a session's seconds."""

    tenant: str
    session_id: str
    epoch: int
    sure: bool = False
    """Nobody else has had the session so far: that need not be looked at."""
    lost: bool = False
    """Somebody else has."""


class Entry(NamedTuple):
    """Numbers, and by what right they are counted; None is without question."""

    claim: Claim | None
    counts: Counts


class UsageStore:
    """The usage of one cluster. Raises redis-py's `RedisError` when Redis does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._cluster = settings.cluster
        self._ttl_s = settings.limits.usage_ttl_s
        self._add = redis.register_script(_ADD)

    async def add(self, writer: str, number: int, entries: Sequence[Entry]) -> list[Claim]:
        """Add the writer's batch of this number, unless it has been; the claims that were refused."""
        batch = {"number": number, "ttl": self._ttl_s, "writer_ttl": WRITER_TTL_S}
        data = json.dumps(batch | {"entries": [self._entry(entry) for entry in entries]})
        refused = await self._add(keys=[f"{self._cluster}:usage_writer:{writer}"], args=[data])
        claims = [entries[int(place)].claim for place in refused]
        return [claim for claim in claims if claim is not None]

    async def days(self, tenant: str, first: date, last: date) -> list[DayUsage]:
        """An account's days from `first` to `last`, those without use left out; by one exchange with Redis."""
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return [usage for usage in (await self._read(tenant, days)).values() if usage.models]

    async def of_day(self, day: date) -> dict[str, DayUsage]:
        """What each account has used on a day."""
        accounts = sorted(text(name) for name in await self._redis.smembers(self._index(day)))
        return {tenant: (await self._read(tenant, [day]))[day] for tenant in accounts}

    async def _read(self, tenant: str, days: Sequence[date]) -> dict[date, DayUsage]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for day in days:
                pipe.hgetall(self._key(tenant, day))
            found = await pipe.execute()
        return {day: DayUsage(day=day, models=_models(fields)) for day, fields in zip(days, found, strict=True)}

    def _entry(self, entry: Entry) -> dict[str, Any]:
        counts: defaultdict[tuple[str, date], dict[str, int]] = defaultdict(dict)
        for (tenant, day, model, measure), count in entry.counts.items():
            counts[tenant, day][f"{model}|{measure}"] = count
        used = [
            {"key": self._key(tenant, day), "index": self._index(day), "tenant": tenant, "counts": each}
            for (tenant, day), each in counts.items()
        ]
        claim = entry.claim
        if claim is None or claim.sure:
            return {"used": used}
        record = f"{self._cluster}:{claim.tenant}:session:{claim.session_id}"  # of `cluster.store`
        return {"used": used, "record": record, "epoch": claim.epoch}

    def _key(self, tenant: str, day: date) -> str:
        return f"{self._cluster}:{tenant}:usage:{day.isoformat()}"

    def _index(self, day: date) -> str:
        return f"{self._cluster}:usage:{day.isoformat()}"


def by_day(ended_at: float, ms: int) -> Iterator[tuple[date, int]]:
    """The days of the `ms` before `ended_at` (unix seconds), the last one first, and how much of it is in each."""
    end_ms = round(ended_at * 1000)
    while ms > 0:
        of_day = min(ms, (end_ms - 1) % DAY_MS + 1)
        yield day_of((end_ms - 1) / 1000), of_day
        end_ms, ms = end_ms - of_day, ms - of_day


def day_of(unix_s: float) -> date:
    """In UTC."""
    return datetime.fromtimestamp(unix_s, UTC).date()


def _models(fields: Mapping[Any, Any]) -> list[ModelUsage]:
    """From the members of a hash."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for field, count in fields.items():
        model, _, measure = text(field).rpartition("|")
        counts[model][measure] = int(count)
    return [_model(model, counts[model]) for model in sorted(counts)]


def _model(model: str, counts: Counter[str]) -> ModelUsage:
    def seconds(names: Iterable[str], prefix: str = "") -> dict[str, float]:
        return {name: counts[f"{prefix}{name}_ms"] / 1000 for name in names}

    return ModelUsage(
        model=model,
        sessions=counts["sessions"],
        seconds=SessionSeconds(**seconds(SessionSeconds.model_fields)),
        gpu_seconds=GpuSeconds(**seconds(GpuSeconds.model_fields, "gpu_")),
        busy_seconds=counts["busy_ms"] / 1000,
        chunks=counts["chunks"],
        frames=counts["frames"],
    )
