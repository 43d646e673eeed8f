"""What an account may have and do at a time: never one more, however many ask at once."""

from __future__ import annotations

import asyncio
from itertools import chain

import pytest

from cluster.errors import CreationsExceeded, QuotaExceeded, ScopeExhausted
from cluster.quota import WINDOW_S, Quota
from cluster.settings import Settings
from cluster.store import Store
from wire.http import SessionState

pytestmark = pytest.mark.fast

TENANT = "key_tenant"
AT_ONCE = 40


async def created(store: Store, records, quota: Quota) -> list[BaseException]:
    """Create them all at the same time; the refusals."""
    results = await asyncio.gather(*(store.create(each, quota) for each in records), return_exceptions=True)
    return [result for result in results if result is not None]


@pytest.mark.parametrize(
    ("quota", "refusal"),
    [
        (Quota(open_sessions=7), QuotaExceeded),
        (Quota(created=7), CreationsExceeded),
        (Quota(of_scope=7), ScopeExhausted),
        (Quota(of_scope=7, scope=frozenset({"echo"})), ScopeExhausted),
    ],
)
async def test_of_many_at_once_exactly_as_many_get_through(store, make_record, redis, settings, quota, refusal):
    elsewhere = Store(redis, settings)
    records = [make_record(f"s{n}") for n in range(AT_ONCE)]
    refused = await asyncio.gather(created(store, records[::2], quota), created(elsewhere, records[1::2], quota))
    assert [type(error) for error in chain(*refused)] == [refusal] * (AT_ONCE - 7)
    assert len(await store.open_of(TENANT)) == 7


async def test_accounts_do_not_share_a_quota(store, make_record):
    quota = Quota(open_sessions=1, created=1)
    await store.create(make_record("s1"), quota)
    await store.create(make_record("s2", tenant="other"), quota)
    with pytest.raises(QuotaExceeded):
        await store.create(make_record("s3"), quota)


async def test_what_is_refused_leaves_nothing(store, make_record, redis, settings: Settings):
    await store.create(make_record("s1"))
    before = {key async for key in redis.scan_iter(f"{settings.cluster}:*")}
    for quota in (Quota(open_sessions=1), Quota(created=1), Quota(of_scope=1), Quota(open_sessions=0)):
        with pytest.raises((QuotaExceeded, CreationsExceeded, ScopeExhausted)):
            await store.create(make_record("s2"), quota, snapshot=b"state")
    assert {key async for key in redis.scan_iter(f"{settings.cluster}:*")} == before
    assert await redis.zcard(f"{settings.cluster}:{TENANT}:created") == 1


async def test_a_session_that_is_over_or_has_expired_is_not_counted(store, make_record, redis, settings: Settings):
    quota = Quota(open_sessions=1, of_scope=1)
    await store.create(make_record("s1"), quota)
    await store.end(TENANT, "s1", SessionState.CLOSED, "done")
    await store.create(make_record("s2"), quota)
    await redis.delete(f"{settings.cluster}:{TENANT}:session:s2")  # what its expiry does
    await store.create(make_record("s3"), quota)
    assert [record.session_id for record in await store.open_of(TENANT)] == ["s3"]


async def test_a_token_counts_the_models_of_its_scope(store, make_record):
    await store.create(make_record("s1", model="longlive-v2"))
    one_echo = Quota(of_scope=1, scope=frozenset({"echo", "other"}))
    await store.create(make_record("s2"), one_echo)
    with pytest.raises(ScopeExhausted):
        await store.create(make_record("s3"), one_echo)
    with pytest.raises(ScopeExhausted):
        await store.create(make_record("s4", model="longlive-v2"), Quota(of_scope=2))
    await store.create(make_record("s5"), Quota(of_scope=3))


async def test_a_session_that_rests_is_not_counted_and_needs_room_to_wake(store, make_record):
    await store.create(make_record("s1"))
    await store.end(TENANT, "s1", SessionState.INACTIVE, "no client")
    quota = Quota(open_sessions=1)
    await store.create(make_record("s2"), quota)
    before = await store.get(TENANT, "s1")
    with pytest.raises(QuotaExceeded):
        await store.reopen(TENANT, "s1", quota)
    assert await store.get(TENANT, "s1") == before
    await store.end(TENANT, "s2", SessionState.CLOSED, "done")
    assert await store.reopen(TENANT, "s1", quota)


class Window:
    """An account's creations; time is moved by moving them back."""

    def __init__(self, store: Store, settings: Settings, make_record) -> None:
        self._store, self._make_record = store, make_record
        self._key = f"{settings.cluster}:{TENANT}:created"
        self._count = 0

    async def create(self, most: int) -> None:
        self._count += 1
        await self._store.create(self._make_record(f"s{self._count}"), Quota(created=most))

    async def pass_s(self, seconds: float) -> None:
        for name in await self._store.redis.zrange(self._key, 0, -1):
            await self._store.redis.zincrby(self._key, -1000 * seconds, name)


async def test_in_any_minute_there_are_no_more_creations_than_allowed(store, make_record, settings: Settings):
    window = Window(store, settings, make_record)
    await window.create(2)
    await window.pass_s(40)
    await window.create(2)
    for after_s in (0, 10):
        await window.pass_s(after_s)
        with pytest.raises(CreationsExceeded) as refused:
            await window.create(2)
        assert refused.value.retry_after_s in (20 - after_s, 19 - after_s), "when the first of the two is a minute old"
    await window.pass_s(10)
    await window.create(2)
    with pytest.raises(CreationsExceeded):
        await window.create(2)


async def test_a_lower_limit_counts_what_was_created_before_it(store, make_record, settings: Settings):
    window = Window(store, settings, make_record)
    for _ in range(4):
        await window.create(10)
        await window.pass_s(10)
    with pytest.raises(CreationsExceeded) as refused:
        await window.create(2)
    assert refused.value.retry_after_s in (WINDOW_S - 20, WINDOW_S - 21), "when but one is left in the window"
