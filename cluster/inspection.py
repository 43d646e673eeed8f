"""The facts of `cluster.integrity`, collected from Redis, from the allocator's pools and from every worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

from cluster.api import WorkerGone, WorkerStatus
from cluster.fleet import Fleet
from cluster.integrity import Entry, Facts, Key, parts
from cluster.policy import Pool
from cluster.store import BATCH, Store, text
from cluster.words import NoWord, word_of
from wire.http import SessionState


async def facts(cluster: str, store: Store, pools: Iterable[Pool], fleet: Fleet, patience_s: float) -> Facts:
    """What everybody says now. A worker may take `patience_s` seconds. Raises RedisError, Unavailable."""
    names = frozenset(await fleet.names())
    expires = await _keys(store, cluster)
    records = await _records(store, cluster, expires)
    pools = list(pools)
    names_of = {name: pool.settings.model for pool in pools for name in pool.workers if name in fleet.handles}
    words = await asyncio.gather(*(_word(fleet, name, model, patience_s) for name, model in names_of.items()))
    return Facts(
        workers={status.name: status for status in words if isinstance(status, WorkerStatus)},
        silent=frozenset(name for name in words if isinstance(name, str)),
        strays=names - fleet.handles.keys(),
        held={
            session_id: slots.name for pool in pools for slots in pool.workers.values() for session_id in slots.sessions
        },
        waiting=frozenset(session_id for pool in pools for session_id in pool.waiting),
        records=records,
        entered=await _entered(store, cluster, expires),
        expires=expires,
    )


async def _word(fleet: Fleet, name: str, model: str, patience_s: float) -> WorkerStatus | str | None:
    """A worker's word; its name if it says nothing, None if it has ended."""
    try:
        async with asyncio.timeout(patience_s):
            return await word_of(name, model, fleet.handles[name].watch(-1, 0))
    except (TimeoutError, NoWord):
        return name
    except (KeyError, WorkerGone):
        return None


async def _keys(store: Store, cluster: str) -> dict[str, bool]:
    found = [text(key) async for key in store.redis.scan_iter(f"{cluster}:*", count=BATCH)]
    expires: dict[str, bool] = {}
    for start in range(0, len(found), BATCH):
        batch = found[start : start + BATCH]
        async with store.redis.pipeline(transaction=False) as pipe:
            for key in batch:
                pipe.ttl(key)
            left = await pipe.execute()
        expires |= {key.removeprefix(f"{cluster}:"): ttl != -1 for key, ttl in zip(batch, left, strict=True)}
    return expires


async def _records(store: Store, cluster: str, keys: Iterable[str]) -> dict[Key, Entry]:
    of_sessions = [key for key in keys if parts(key)[1] == "session"]
    records: dict[Key, Entry] = {}
    for start in range(0, len(of_sessions), BATCH):
        batch = of_sessions[start : start + BATCH]
        async with store.redis.pipeline(transaction=False) as pipe:
            for key in batch:
                pipe.hmget(f"{cluster}:{key}", ["state", "epoch", "worker"])
            found = await pipe.execute()
        for key, fields in zip(batch, found, strict=True):
            if all(field is not None for field in fields):
                tenant, _, session_id = parts(key)
                with suppress(ValueError):  # what cannot be read is none
                    state, epoch, worker = map(text, fields)
                    records[tenant, session_id] = Entry(SessionState(state), int(epoch), worker)
    return records


async def _entered(store: Store, cluster: str, keys: Iterable[str]) -> Mapping[str, set[Key]]:
    of_all = [text(member).rpartition("/") for member in await store.redis.smembers(f"{cluster}:open")]
    own: set[Key] = set()
    for key in keys:
        if key.endswith(":open"):
            tenant = key.removesuffix(":open")
            own |= {(tenant, text(member)) for member in await store.redis.smembers(f"{cluster}:{key}")}
    return {"all": {(tenant, session_id) for tenant, _, session_id in of_all}, "of its tenant": own}
