"""Saved moments: a session branched from one goes on like the one that it was taken from."""

from __future__ import annotations

import pytest

from cluster.errors import Conflict, NotFound, QuotaExceeded
from cluster.journal import Snapshot
from cluster.settings import PoolSettings
from longlive import stamp
from tests.support.planting import SNAPSHOT, plant
from tests.support.waiting import eventually
from wire.http import CreateSession, ModelRef, SavedSnapshot, SaveSnapshot

TENANT = "key_tenant"
LONGLIVE = PoolSettings(model="longlive-v2", min_warm=1)


def branch(snapshot: SavedSnapshot, model: str = "longlive-v2") -> CreateSession:
    return CreateSession(model=ModelRef(name=model), from_snapshot=snapshot.snapshot_id)


async def told(scene, session_id: str) -> bool:
    """Whether the registry holds the paused story."""
    parts = await scene.local.store.load_snapshot(TENANT, session_id)
    return parts is not None and Snapshot.of(*parts).director["phase"] == "paused"


@pytest.mark.media
async def test_a_branch_goes_on_where_the_moment_was(launch) -> None:
    scene = launch(PoolSettings(model="longlive-v2", min_warm=1, max_workers=2))
    first = await scene.opened("longlive-v2")
    viewer = await scene.join(first)
    viewer.command("set_seed", {"seed": 7})
    viewer.command("set_shot", {"prompt": "dunes"})
    viewer.command("schedule_scene_cut", {"prompt": "a storm", "at_session_chunk": 3})
    viewer.command("start")
    await viewer.message("chunk_complete")
    viewer.command("pause")
    await viewer.message("generation_paused")
    await eventually(lambda: told(scene, first))
    saved = await scene.client.save_snapshot(TENANT, first, SaveSnapshot(name="before the storm"))
    assert (saved.name, saved.model) == ("before the storm", "longlive-v2")

    second = (await scene.client.create_session(TENANT, branch(saved))).session_id
    await scene.held(second)
    other = await scene.join(second)
    state = await other.message("state")
    assert (state["seed"], state["current_prompt"], state["paused"]) == (7, "dunes", True)
    assert state["scheduled_scene_cuts"] == [3]
    other.command("resume")
    await other.message("chunk_complete")
    picture = other.received["main_video"].pictures[-1]
    assert stamp.read(picture) is not None
    assert stamp.read(picture) >= 29 * state["session_chunk"], "its pictures are counted on"
    assert await scene.state(first), "and the first session is left as it was"


@pytest.mark.fast
async def test_who_may_start_from_it(launch) -> None:
    scene = launch(LONGLIVE, PoolSettings(model="echo", min_warm=1))
    client, store = scene.client, scene.local.store
    session_id = await scene.opened("longlive-v2")
    with pytest.raises(Conflict, match="no state to save"):
        await client.save_snapshot(TENANT, session_id, SaveSnapshot())
    await plant(store, TENANT, session_id)
    mine = await client.save_snapshot(TENANT, session_id, SaveSnapshot())
    granted = await client.save_snapshot(TENANT, session_id, SaveSnapshot(grant=["friend"]))
    for tenant, snapshot in (("stranger", mine), ("friend", mine), ("stranger", granted)):
        with pytest.raises(NotFound):
            await client.create_session(tenant, branch(snapshot))
    with pytest.raises(NotFound):
        await client.save_snapshot("stranger", session_id, SaveSnapshot())
    with pytest.raises(Conflict, match="one of longlive-v2, not of echo"):
        await client.create_session(TENANT, branch(mine, "echo"))
    session = await client.create_session("friend", branch(granted))
    parts = await store.load_snapshot("friend", session.session_id)
    assert parts is not None
    assert Snapshot.of(*parts) == SNAPSHOT
    with pytest.raises(NotFound):
        await client.delete_snapshot("friend", granted.snapshot_id)


@pytest.mark.fast
async def test_they_are_listed_bounded_and_forgotten(launch) -> None:
    scene = launch(LONGLIVE, max_saved_snapshots=2)
    client = scene.client
    session_id = await scene.opened("longlive-v2")
    await plant(scene.local.store, TENANT, session_id)
    kept = [await client.save_snapshot(TENANT, session_id, SaveSnapshot(name=name)) for name in "ab"]
    with pytest.raises(QuotaExceeded):
        await client.save_snapshot(TENANT, session_id, SaveSnapshot(name="c"))
    assert {snapshot.name for snapshot in await client.saved_snapshots(TENANT)} == {"a", "b"}
    assert await client.saved_snapshots("stranger") == []
    await client.delete_snapshot(TENANT, kept[0].snapshot_id)
    assert await client.saved_snapshots(TENANT) == kept[1:]
    with pytest.raises(NotFound):
        await client.create_session(TENANT, branch(kept[0]))
    assert kept[1].expires_at > kept[1].created_at
