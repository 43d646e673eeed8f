"""Sessions that rest yield their place on a shared device, and go on exactly where they were."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from cluster.settings import PoolSettings
from longlive import model
from longlive.replay import Made, read_log, replay
from longlive.replica import LongLiveReplica
from tests.support.rtc_client import RtcClient
from tests.support.waiting import eventually
from wire.http import SessionState

pytestmark = pytest.mark.media

TENANT = "key_tenant"
SHARED = PoolSettings(model="longlive-v2", min_warm=1, max_workers=1, sessions_per_worker=2)
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=1, sessions_per_worker=2)
AT_ONCE = {"offload_after_s": 0.0}


@pytest.fixture
def room_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that keeps no second session in time."""
    monkeypatch.setattr(LongLiveReplica, "trial", lambda self: 0.8)


async def paused(viewer: RtcClient) -> int:
    """Chunks that were made when it had come to rest."""
    viewer.command("pause")
    return (await viewer.message("generation_paused"))["chunk_index"] + 1


async def playing(scene: Any) -> tuple[str, RtcClient]:
    """A session that makes chunks."""
    session_id = await scene.opened("longlive-v2")
    viewer = await scene.join(session_id)
    viewer.command("set_shot", {"prompt": "a red dune"})
    viewer.command("start")
    await viewer.message("chunk_complete")
    return session_id, viewer


async def resting(scene: Any) -> tuple[str, RtcClient, int]:
    """A session that has made chunks, is paused and off the device; how many it has made."""
    session_id, viewer = await playing(scene)
    made = await paused(viewer)
    session = scene.local.session(session_id)
    await eventually(lambda: session.offloaded)
    viewer.messages.clear()
    return session_id, viewer, made


def again(log: bytes) -> list[Made]:
    tiny = model("tiny")
    return list(replay(read_log(log.splitlines()), tiny.director(), tiny.load("cpu").open()))


async def test_the_picture_goes_on_as_if_the_session_had_never_left(launch):
    before = REGISTRY.get_sample_value("llc_offload_bytes_total", {"model": "longlive-v2"}) or 0.0
    scene = launch(SHARED, **AT_ONCE)
    session_id = await scene.opened("longlive-v2")
    session, live = scene.local.session(session_id), scene.tapped(session_id)
    viewer = await scene.join(session_id)
    viewer.command("set_shot", {"prompt": "a red dune"})
    viewer.command("start")
    await viewer.message("chunk_complete")
    made = await paused(viewer)
    await eventually(lambda: session.offloaded)
    assert REGISTRY.get_sample_value("llc_offload_bytes_total", {"model": "longlive-v2"}) > before
    assert REGISTRY.get_sample_value("llc_sessions_offloaded", {"model": "longlive-v2"}) == 1

    viewer.command("schedule_shot", {"prompt": "a harbour", "at_session_chunk": made + 1})
    assert (await viewer.message("shot_scheduled"))["at_session_chunk"] == made + 1
    assert session.offloaded, "a change of plans needs no device"

    viewer.messages.clear()
    viewer.command("resume")
    counts = [(await viewer.message("chunk_complete"))["session_chunk"] for _ in range(2)]
    assert counts == [made + 1, made + 2]
    await paused(viewer)
    chunks = await asyncio.to_thread(again, session.events())
    assert "shot" in {chunk.plan.kind for chunk in chunks}
    assert all(chunk.same for chunk in chunks)
    assert np.array_equal(np.concatenate([chunk.frames for chunk in chunks]), np.concatenate(live))


async def test_who_finds_the_device_taken_goes_on_elsewhere_first_in_line(launch, room_for_one):
    scene = launch(SHARED, **AT_ONCE)
    resting_id, viewer, made = await resting(scene)
    taker, _ = await playing(scene)
    assert scene.local.worker_of(taker) is scene.local.worker_of(resting_id), "it has yielded its place"
    waiting = await scene.create("longlive-v2")
    assert waiting.state is SessionState.PENDING, "and there is no third one"

    state = await scene.local.session(resting_id)._seat.export()
    viewer.command("resume")
    assert await viewer.message("session_moved") == {"cause": "planned"}
    await eventually(lambda: resting_id in scene.local.allocator._pools["longlive-v2"].waiting)
    assert (await scene.client.get_session(TENANT, waiting.session_id)).queue.position == 1
    _, kept = await scene.local.store.load_snapshot(TENANT, resting_id)
    assert kept == state, "all there is of the scene, as its worker has kept it"
    await scene.client.delete_session(TENANT, taker, None)
    await scene.held(resting_id)
    viewer = await scene.join(resting_id)
    assert (await viewer.message("chunk_complete"))["session_chunk"] == made + 1
    record = await scene.local.store.get(TENANT, resting_id)
    assert record.moves == 0, "nothing was lost"


async def test_a_worker_that_dies_loses_no_session_that_rests(launch):
    scene = launch(SHARED, **AT_ONCE)
    session_id, viewer, made = await resting(scene)
    viewer.command("schedule_shot", {"prompt": "a harbour", "at_session_chunk": made + 7})
    await viewer.message("shot_scheduled")
    worker = scene.local.worker_of(session_id).name
    scene.local.backend.bury(worker)

    async def elsewhere() -> bool:
        return (await scene.local.store.get(TENANT, session_id)).worker not in ("", worker)

    await eventually(elsewhere)
    viewer = await scene.join(session_id)
    state = await viewer.message("state")
    assert (state["paused"], state["session_chunk"], state["scheduled_shots"]) == (True, made, [made + 7])
    viewer.command("resume")
    assert (await viewer.message("chunk_complete"))["session_chunk"] == made + 1


async def test_who_is_alone_on_its_worker_stays(launch):
    scene = launch(PoolSettings(model="echo", min_warm=1), **AT_ONCE)
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    await viewer.close()
    session = scene.local.session(session_id)
    await eventually(lambda: not session.connections)
    assert not session.offloaded


async def test_who_is_not_watched_rests_until_somebody_comes_back(launch):
    scene = launch(ECHO, **AT_ONCE)
    session_id = await scene.opened()
    session = scene.local.session(session_id)
    await eventually(lambda: session.offloaded)
    viewer = await scene.join(session_id)
    await viewer.received["main_video"].wait(lambda received: bool(received.pictures))
    await viewer.close()
    await eventually(lambda: session.offloaded)
