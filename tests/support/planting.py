"""A session's state as a worker would have left it."""

from __future__ import annotations

from cluster.journal import Snapshot
from cluster.store import Store

SNAPSHOT = Snapshot(model="echo", director={"effect": "blur"}, stream=b"pictures")


async def plant(store: Store, tenant: str, session_id: str, snapshot: Snapshot = SNAPSHOT) -> None:
    """Give a session a snapshot under its present epoch."""
    record = await store.get(tenant, session_id)
    assert record is not None
    assert await store.save_snapshot(tenant, session_id, record.epoch, snapshot.data(), snapshot.stream)
