"""Sessions in Redis: epochs, fencing, the sets of open sessions, and that nothing stays for ever."""

from __future__ import annotations

import pytest

from cluster.settings import Settings
from cluster.store import RecordLost, Store
from wire.http import ClientInfo, SessionState

pytestmark = pytest.mark.fast

TENANT = "key_tenant"


async def open_ids(store: Store, tenant: str = TENANT) -> list[str]:
    return [record.session_id for record in await store.open_of(tenant)]


async def all_ids(store: Store) -> set[str]:
    return {record.session_id async for record in store.all_open()}


async def test_what_is_created_is_read_back(store, make_record):
    record = make_record(client=ClientInfo(sdk_version="2.12.3", sdk_type="js"), created_at=1234.5)
    await store.create(record)
    assert await store.get(TENANT, "s1") == record
    assert await store.get(TENANT, "s2") is None


async def test_open_sessions_by_tenant_and_of_all(store, make_record):
    for session_id, tenant in [("s2", TENANT), ("s1", TENANT), ("s3", "other")]:
        await store.create(make_record(session_id, tenant=tenant))
    assert await open_ids(store) == ["s1", "s2"]
    assert await open_ids(store, "other") == ["s3"]
    assert await all_ids(store) == {"s1", "s2", "s3"}


async def test_a_foreign_tenant_sees_and_changes_nothing(store, make_record):
    await store.create(make_record())
    await store.grant(TENANT, "s1", "w1", 1.0)
    assert await store.get("other", "s1") is None
    assert await store.grant("other", "s1", "w2", 1.0) == 0
    with pytest.raises(RecordLost):
        await store.update("other", "s1", 1, state="ACTIVE")
    assert not await store.end("other", "s1", SessionState.CLOSED, "theirs")
    with pytest.raises(RecordLost):
        await store.save_snapshot("other", "s1", 1, b"theirs")
    assert await open_ids(store, "other") == []
    record = await store.get(TENANT, "s1")
    assert (record.worker, record.epoch, record.state) == ("w1", 1, SessionState.PENDING)


async def test_every_grant_is_a_new_epoch_and_the_first_one_starts_the_clock(store, make_record):
    await store.create(make_record())
    assert [await store.grant(TENANT, "s1", f"w{n}", float(n)) for n in (1, 2, 3)] == [1, 2, 3]
    record = await store.get(TENANT, "s1")
    assert (record.worker, record.epoch, record.started_at) == ("w3", 3, 1.0)


@pytest.mark.parametrize("state", [SessionState.CLOSED, SessionState.INACTIVE])
async def test_a_session_that_is_over_is_never_granted(store, make_record, state):
    await store.create(make_record())
    await store.end(TENANT, "s1", state, "over")
    before = await store.get(TENANT, "s1")
    assert await store.grant(TENANT, "s1", "w1", 1.0) == 0
    assert await store.get(TENANT, "s1") == before
    assert await store.grant(TENANT, "never", "w1", 1.0) == 0
    assert await store.get(TENANT, "never") is None, "a grant of nothing must not leave half a record"


async def test_a_former_owner_changes_nothing(store, make_record):
    await store.create(make_record())
    old = await store.grant(TENANT, "s1", "w1", 1.0)
    new = await store.grant(TENANT, "s1", "w2", 2.0)
    assert await store.save_snapshot(TENANT, "s1", new, b"new")
    before = await store.get(TENANT, "s1")
    assert not await store.update(TENANT, "s1", old, state="ACTIVE")
    assert not await store.save_snapshot(TENANT, "s1", old, b"old")
    assert not await store.end(TENANT, "s1", SessionState.CLOSED, "old", epoch=old)
    assert await store.get(TENANT, "s1") == before
    assert await store.load_snapshot(TENANT, "s1") == (b"new", b"")
    assert await store.update(TENANT, "s1", new, state="ACTIVE", moves=2)
    record = await store.get(TENANT, "s1")
    assert (record.state, record.moves) == (SessionState.ACTIVE, 2)


async def test_a_write_after_the_record_is_gone_brings_nothing_back(store, make_record, redis, settings: Settings):
    await store.create(make_record())
    epoch = await store.grant(TENANT, "s1", "w1", 1.0)
    await redis.delete(f"{settings.cluster}:{TENANT}:session:s1")
    with pytest.raises(RecordLost):
        await store.update(TENANT, "s1", epoch, state="ACTIVE")
    with pytest.raises(RecordLost):
        await store.save_snapshot(TENANT, "s1", epoch, b"x")
    assert not await store.end(TENANT, "s1", SessionState.CLOSED, "late", epoch=epoch)
    assert await store.get(TENANT, "s1") is None
    assert await store.load_snapshot(TENANT, "s1") is None


async def test_the_end_fences_and_is_the_same_a_second_time(store, make_record):
    await store.create(make_record())
    epoch = await store.grant(TENANT, "s1", "w1", 1.0)
    await store.save_snapshot(TENANT, "s1", epoch, b"state")
    assert await store.end(TENANT, "s1", SessionState.CLOSED, "done", epoch=epoch)
    ended = await store.get(TENANT, "s1")
    assert (ended.state, ended.reason, ended.worker) == (SessionState.CLOSED, "done", "")
    assert ended.epoch > epoch
    assert await store.load_snapshot(TENANT, "s1") is None
    assert await open_ids(store) == []
    assert await all_ids(store) == set()
    assert not await store.update(TENANT, "s1", epoch, state="ACTIVE")
    assert await store.end(TENANT, "s1", SessionState.INACTIVE, "again")
    assert await store.get(TENANT, "s1") == ended


async def test_an_inactive_session_keeps_its_snapshot_and_can_be_reopened(store, make_record):
    await store.create(make_record())
    epoch = await store.grant(TENANT, "s1", "w1", 5.0)
    await store.save_snapshot(TENANT, "s1", epoch, b"state")
    assert not await store.reopen(TENANT, "s1"), "it is not over"
    assert await store.end(TENANT, "s1", SessionState.INACTIVE, "no client", epoch=epoch)
    assert await store.load_snapshot(TENANT, "s1") == (b"state", b"")
    assert await open_ids(store) == []
    assert await store.reopen(TENANT, "s1")
    assert not await store.reopen(TENANT, "s1")
    record = await store.get(TENANT, "s1")
    assert (record.state, record.worker, record.started_at, record.reason) == (SessionState.PENDING, "", 0.0, "")
    assert await open_ids(store) == ["s1"]
    assert await all_ids(store) == {"s1"}
    assert not await store.save_snapshot(TENANT, "s1", epoch, b"late"), "the former owner stays fenced"
    assert await store.grant(TENANT, "s1", "w2", 9.0) > epoch
    assert (await store.get(TENANT, "s1")).started_at == 9.0
    assert await store.load_snapshot(TENANT, "s1") == (b"state", b"")


async def test_a_closed_session_cannot_be_reopened(store, make_record):
    await store.create(make_record())
    await store.end(TENANT, "s1", SessionState.CLOSED, "done")
    assert not await store.reopen(TENANT, "s1")
    assert not await store.reopen(TENANT, "never")
    assert await all_ids(store) == set()


async def test_every_key_of_a_session_expires(make_record, redis, settings: Settings):
    limits = settings.limits.model_copy(update={"max_session_s": 7200})
    store = Store(redis, settings.model_copy(update={"limits": limits}))
    record, snapshot = (f"{settings.cluster}:{TENANT}:{kind}:s1" for kind in ("session", "snapshot"))
    live = range(limits.max_session_s, limits.max_session_s + limits.record_ttl_s + 1)
    await store.create(make_record())
    assert await redis.ttl(record) in live
    epoch = await store.grant(TENANT, "s1", "w1", 1.0)
    await redis.expire(record, 5)
    await store.update(TENANT, "s1", epoch, state="ACTIVE")
    assert await redis.ttl(record) in live, "a live session's writes keep it alive"
    await store.save_snapshot(TENANT, "s1", epoch, b"state")
    assert await redis.ttl(snapshot) > limits.max_session_s, "a session that rests must not lose its snapshot"
    await store.end(TENANT, "s1", SessionState.INACTIVE, "no client")
    assert limits.record_ttl_s - 5 <= await redis.ttl(record) <= limits.record_ttl_s
    assert limits.snapshot_ttl_s - 5 <= await redis.ttl(snapshot) <= limits.snapshot_ttl_s
    await store.reopen(TENANT, "s1")
    assert await redis.ttl(record) in live
    await store.end(TENANT, "s1", SessionState.CLOSED, "done")
    keys = {key.decode() async for key in redis.scan_iter(f"{settings.cluster}:*")}
    assert keys == {record, f"{settings.cluster}:{TENANT}:created"}
    assert all([await redis.ttl(key) > 0 for key in keys]), keys


async def test_those_who_wait_are_kept_and_those_who_are_over_are_not(store, make_record, redis, settings: Settings):
    for session_id in ("waits", "rests", "over"):
        await store.create(make_record(session_id), snapshot=b"state")
    await store.end(TENANT, "rests", SessionState.INACTIVE, "no client")
    await store.end(TENANT, "over", SessionState.CLOSED, "done")
    keys = [key async for key in redis.scan_iter(f"{settings.cluster}:{TENANT}:s*")]
    for key in keys:
        await redis.expire(key, 5)
    await store.keep([(TENANT, session_id) for session_id in ("waits", "rests", "over", "never")])
    kept = {key.decode().rpartition(":")[2] for key in keys if await redis.ttl(key) > settings.limits.max_session_s}
    assert (len(keys), kept) == (5, {"waits"})
    assert await redis.ttl(f"{settings.cluster}:{TENANT}:snapshot:waits") > settings.limits.max_session_s


async def test_a_session_can_begin_with_a_snapshot(store, make_record, redis, settings: Settings):
    await store.create(make_record(), snapshot=b"state")
    assert await store.load_snapshot(TENANT, "s1") == (b"state", b"")
    assert await redis.ttl(f"{settings.cluster}:{TENANT}:snapshot:s1") > settings.limits.max_session_s


async def test_records_that_have_expired_leave_the_sets(store, make_record, redis, settings: Settings):
    for session_id in ("s1", "s2", "s3"):
        await store.create(make_record(session_id))
    await redis.delete(f"{settings.cluster}:{TENANT}:session:s1")
    assert await open_ids(store) == ["s2", "s3"]
    await redis.delete(f"{settings.cluster}:{TENANT}:session:s2")
    assert await all_ids(store) == {"s3"}
    assert await redis.smembers(f"{settings.cluster}:{TENANT}:open") == {b"s3"}
    assert await redis.smembers(f"{settings.cluster}:open") == {f"{TENANT}/s3".encode()}
