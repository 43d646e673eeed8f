"""API keys: shown once, kept as a hash, gone at once when revoked."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from cluster.keys import KeyLimits, KeyRing
from cluster.records import PriorityClass
from cluster.settings import Settings

pytestmark = pytest.mark.fast


@pytest.fixture
def ring(redis: Redis, settings: Settings) -> KeyRing:
    return KeyRing(redis, settings)


async def everything(redis: Redis, prefix: str) -> str:
    """All keys and values of the cluster as one text."""
    found = []
    async for name in redis.scan_iter(f"{prefix}:*"):
        kind = await redis.type(name)
        found += [name, await (redis.hgetall(name) if kind == b"hash" else redis.get(name))]
    return repr(found)


async def test_a_new_key_is_found_by_its_raw_form_only(ring):
    key, raw = await ring.create("laptop")
    assert raw.startswith("rk_")
    assert len(raw) > 40
    assert await ring.resolve(raw) == key
    assert (key.name, key.created_at > 0) == ("laptop", True)
    assert await ring.resolve(raw[:-1]) is None
    assert await ring.resolve(key.key_id) is None
    assert await ring.resolve("") is None
    assert await ring.is_live(key.key_id)


async def test_only_a_hash_is_kept(ring, redis, settings):
    _, raw = await ring.create("laptop")
    kept = await everything(redis, settings.cluster)
    assert "laptop" in kept, "the scan must see the key's entry"
    assert raw not in kept
    assert raw.removeprefix("rk_") not in kept


async def test_a_revoked_key_is_gone_at_once_and_leaves_nothing(ring, redis, settings):
    kept, raw_kept = await ring.create("kept")
    before = await everything(redis, settings.cluster)
    key, raw = await ring.create("laptop")
    assert await ring.revoke(key.key_id)
    assert await ring.resolve(raw) is None
    assert not await ring.is_live(key.key_id)
    assert not await ring.revoke(key.key_id), "there is no such key any more"
    assert await everything(redis, settings.cluster) == before
    assert await ring.resolve(raw_kept) == kept


async def test_keys_of_the_settings_are_live_listed_and_cannot_be_revoked(ring, redis, settings, api_key):
    first = await ring.resolve(api_key)
    second = await ring.resolve("rk_other")
    assert first is not None
    assert second is not None
    assert first.key_id != second.key_id
    assert await ring.is_live(first.key_id)
    assert not await ring.revoke(first.key_id)
    assert await ring.resolve(api_key) == first
    made, _ = await ring.create("later")
    assert await ring.all() == [*sorted([first, second], key=lambda key: key.key_id), made]
    other_process = KeyRing(redis, settings)
    assert await other_process.resolve(api_key) == first, "the tenant must not depend on the process"


async def test_clusters_do_not_share_keys(ring, redis, settings):
    _, raw = await ring.create("laptop")
    other = KeyRing(redis, settings.model_copy(update={"cluster": f"{settings.cluster}-2", "api_keys": ()}))
    assert await other.resolve(raw) is None
    assert await other.all() == []


async def test_the_token_secret_is_one_for_all_processes(ring, redis, settings):
    secret = await ring.jwt_secret()
    assert len(secret) >= 48
    assert await ring.jwt_secret() == secret
    assert await KeyRing(redis, settings).jwt_secret() == secret
    other = KeyRing(redis, settings.model_copy(update={"cluster": f"{settings.cluster}-2"}))
    assert await other.jwt_secret() != secret


async def test_a_secret_of_the_settings_comes_first_and_stays_out_of_redis(redis, settings):
    given = settings.model_copy(update={"jwt_secret": SecretStr("from-the-settings")})
    assert await KeyRing(redis, given).jwt_secret() == "from-the-settings"
    assert "from-the-settings" not in await everything(redis, settings.cluster)


async def test_a_rotated_key_is_the_same_account_and_its_old_secret_has_a_grace(ring, redis, settings):
    key, old = await ring.create("laptop", KeyLimits(max_sessions=3))
    new = await ring.rotate(key.key_id, grace_s=60)
    assert new is not None
    assert new != old
    for raw in (old, new):
        found = await ring.resolve(raw)
        assert found is not None
        assert (found.key_id, found.name, found.limits) == (key.key_id, "laptop", KeyLimits(max_sessions=3))
        assert found.rotated_at > 0
    (ttl,) = [ttl for name in await digests(redis, settings) if (ttl := await redis.ttl(name)) >= 0]
    assert 0 < ttl <= 60, "Redis ends the old secret by itself"
    kept = await everything(redis, settings.cluster)
    assert new not in kept
    assert len([each for each in await ring.all() if each.key_id == key.key_id]) == 1


async def test_the_end_of_the_grace(ring, redis, settings):
    key, old = await ring.create("laptop")
    new = await ring.rotate(key.key_id, grace_s=60)
    (expiring,) = [name for name in await digests(redis, settings) if await redis.ttl(name) >= 0]
    await redis.delete(expiring)  # what its expiry does
    assert await ring.resolve(old) is None
    assert await ring.resolve(new) is not None


async def test_a_rotation_without_grace_ends_the_old_secret_at_once(ring, redis, settings):
    key, old = await ring.create("laptop")
    new = await ring.rotate(key.key_id, grace_s=0)
    assert await ring.resolve(old) is None
    assert await ring.resolve(new) is not None
    assert len(await digests(redis, settings)) == 1


async def test_at_most_two_secrets_are_good_at_a_time(ring, redis, settings):
    key, first = await ring.create("laptop")
    second = await ring.rotate(key.key_id, grace_s=3600)
    third = await ring.rotate(key.key_id, grace_s=3600)
    good = [await ring.resolve(raw) is not None for raw in (first, second, third)]
    assert good == [False, True, True]
    await ring.rotate(key.key_id, grace_s=0)
    assert [await ring.resolve(raw) for raw in (first, second, third)] == [None, None, None]
    assert len(await digests(redis, settings)) == 1


async def test_rotations_at_once_leave_one_whole_key(ring, redis, settings):
    key, _ = await ring.create("laptop")
    raws = await asyncio.gather(*(ring.rotate(key.key_id, grace_s=60) for _ in range(8)))
    assert sum([await ring.resolve(raw) is not None for raw in raws]) == 2, "the last, and the one before it"
    assert len(await digests(redis, settings)) == 2


async def test_revoking_ends_a_key_under_both_secrets(ring, redis, settings):
    before = await everything(redis, settings.cluster)
    key, old = await ring.create("laptop")
    new = await ring.rotate(key.key_id, grace_s=3600)
    assert await ring.revoke(key.key_id)
    assert [await ring.resolve(raw) for raw in (old, new)] == [None, None]
    assert await everything(redis, settings.cluster) == before
    assert await ring.rotate(key.key_id) is None
    assert await everything(redis, settings.cluster) == before, "a revoked key does not come back by rotation"


async def test_keys_of_the_settings_are_neither_rotated_nor_limited(ring, api_key):
    key = await ring.resolve(api_key)
    assert await ring.rotate(key.key_id) is None
    assert not await ring.limit(key.key_id, KeyLimits(max_sessions=1))
    assert await ring.limits(key.key_id) == KeyLimits()


async def test_limits_are_kept_with_the_key_and_replaced_whole(ring):
    key, raw = await ring.create("laptop", KeyLimits(max_sessions=2, max_session_s=30))
    assert (await ring.resolve(raw)).limits == key.limits == await ring.limits(key.key_id)
    assert await ring.limit(key.key_id, KeyLimits(max_sessions=0))
    assert await ring.limits(key.key_id) == KeyLimits(max_sessions=0)
    assert not await ring.limit("key_of_nobody", KeyLimits())
    assert await ring.find("key_of_nobody") is None, "limiting an unknown key makes none"
    assert await ring.limits("sub_of_another_issuer") == KeyLimits()
    every = KeyLimits(max_sessions=1, max_session_s=2, max_creations_per_minute=3, priority=PriorityClass.LOW)
    assert await ring.limit(key.key_id, every)
    assert await ring.limits(key.key_id) == every


async def test_a_key_from_before_there_were_limits_has_none(ring, redis, settings):
    key, raw = await ring.create("laptop")
    await redis.hdel(f"{settings.cluster}:key:{key.key_id}", "limits")
    assert await ring.resolve(raw) == key


async def test_an_entry_that_points_at_a_foreign_key_opens_nothing(ring, redis, settings):
    """The digest in the key's own entry decides; the index only finds it."""
    key, _ = await ring.create("laptop")
    digest = hashlib.sha256(b"rk_planted").hexdigest()
    await redis.set(f"{settings.cluster}:key_of:{digest}", key.key_id)
    assert await ring.resolve("rk_planted") is None


async def digests(redis: Redis, settings: Settings) -> list[bytes]:
    return [name async for name in redis.scan_iter(f"{settings.cluster}:key_of:*")]
