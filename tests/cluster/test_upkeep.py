"""What Redis holds of those who wait, however long they do, and whatever becomes of Redis."""

from __future__ import annotations

import pytest

from cluster import upkeep
from cluster.errors import NotFound
from cluster.settings import PoolSettings
from tests.support.planting import plant
from tests.support.waiting import eventually
from wire.http import ClientInfo, CreateSession, ModelRef, SaveSnapshot, SessionState

pytestmark = pytest.mark.fast

TENANT = "key_tenant"
ONE = PoolSettings(model="echo", min_warm=1, max_workers=1)
CLIENT = ClientInfo(sdk_version="2.9.0", sdk_type="js")


async def wiped(scene) -> None:
    """Redis has lost everything of the cluster."""
    redis = scene.local.redis
    await redis.delete(*[key async for key in redis.scan_iter(f"{scene.local.settings.cluster}:*")])


async def leave(scene, session_id: str) -> None:
    """It ends, whether or not Redis knows of it."""
    await scene.local.worker_of(session_id).close(session_id, "over")


async def test_who_waits_longer_than_a_record_lives_keeps_its_place(launch, succeed) -> None:
    scene = launch(ONE)
    await scene.opened()
    waits = (await scene.create()).session_id
    redis, key = scene.local.redis, f"{scene.local.settings.cluster}:{TENANT}:session:{waits}"
    alive = await redis.ttl(key)
    await redis.expire(key, 30)
    await succeed(scene)  # what an allocator does again and again, it does first of all

    async def renewed() -> bool:
        return 30 < await redis.ttl(key) <= alive

    await eventually(renewed)
    assert (await scene.client.get_session(TENANT, waits)).queue.position == 0


@pytest.mark.parametrize("look_s", [0.01, 3600.0], ids=["looked for", "granted"])
async def test_who_waits_outlives_the_loss_of_all_data(launch, monkeypatch, look_s) -> None:
    monkeypatch.setattr(upkeep, "LOOK_S", look_s)
    scene = launch(ONE)
    runs = await scene.opened()
    request = CreateSession(model=ModelRef(name="echo"), client_info=CLIENT)
    waits = [(await scene.client.create_session(TENANT, request)).session_id for _ in range(2)]
    before = [await scene.local.store.get(TENANT, session_id) for session_id in waits]
    await wiped(scene)
    if look_s < 1:
        await eventually(lambda: entered(scene, waits))
        assert [await scene.local.store.get(TENANT, session_id) for session_id in waits] == before
        assert {each.session_id for each in await scene.client.list_sessions(TENANT)} >= set(waits)
    sessions = [await scene.client.get_session(TENANT, session_id) for session_id in waits]
    assert [session.queue.position for session in sessions] == [0, 1]
    await leave(scene, runs)
    await scene.held(waits[0])
    record = await scene.local.store.get(TENANT, waits[0])
    assert (record.client, record.max_duration_s, record.epoch) == (CLIENT, before[0].max_duration_s, 1)


async def entered(scene, session_ids: list[str]) -> bool:
    found = [await scene.local.store.get(TENANT, session_id) for session_id in session_ids]
    return all(found)


async def test_a_session_that_ends_meanwhile_is_not_brought_back(launch) -> None:
    scene = launch(ONE)
    await scene.opened()
    waits = (await scene.create()).session_id
    store, key = scene.local.store, (TENANT, waits)
    before = await store.get(*key)
    await store.end(*key, SessionState.CLOSED, "over")  # and the allocator is yet to hear of it
    assert await store.lost([key, (TENANT, "unheard of")]) == [(TENANT, "unheard of")]
    assert not await store.restore(before)
    assert (await store.get(*key)).state is SessionState.CLOSED
    assert waits not in {record.session_id for record in await store.open_of(TENANT)}


async def test_what_was_to_begin_from_a_snapshot_is_gone_with_it(launch, monkeypatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK_S", 0.01)
    scene = launch(PoolSettings(model="longlive-v2", min_warm=1, max_workers=1))
    runs = await scene.opened("longlive-v2")
    await plant(scene.local.store, TENANT, runs)
    saved = await scene.client.save_snapshot(TENANT, runs, SaveSnapshot())
    request = CreateSession(model=ModelRef(name="longlive-v2"), from_snapshot=saved.snapshot_id)
    branch = (await scene.client.create_session(TENANT, request)).session_id
    assert (await scene.client.get_session(TENANT, branch)).queue.position == 0
    await wiped(scene)
    await eventually(lambda: not scene.local.allocator._pools["longlive-v2"].waiting)
    with pytest.raises(NotFound):
        await scene.client.get_session(TENANT, branch)
