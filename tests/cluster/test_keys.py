"""API keys: shown once, kept as a hash, gone at once when revoked."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from cluster.keys import KeyRing
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
