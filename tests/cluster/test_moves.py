"""Sessions that leave their worker: because it shall go, because it is old, or because its device has failed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cluster.errors import UnknownWorker
from cluster.settings import PoolSettings
from longlive.engine import Engine
from longlive.replica import LongLiveStream
from tests.support.rtc_client import RtcClient
from tests.support.waiting import eventually

pytestmark = pytest.mark.media

TENANT = "key_tenant"
TINY = PoolSettings(model="longlive-v2", min_warm=1, max_workers=2)
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=2)


async def story(scene: Any) -> tuple[str, RtcClient]:
    """A session that has made a chunk, with a beat to come."""
    session_id = await scene.opened("longlive-v2")
    viewer = await scene.join(session_id)
    viewer.command("set_shot", {"prompt": "a red dune"})
    viewer.command("schedule_scene_cut", {"prompt": "a harbour", "at_session_chunk": 500})
    viewer.command("start")
    assert (await viewer.message("chunk_complete"))["session_chunk"] == 1
    return session_id, viewer


async def rejoined(scene: Any, session_id: str, worker: str) -> RtcClient:
    """A client of the session on another worker than this one."""

    await scene.moved(session_id, worker)
    return await scene.join(session_id)


async def chunks(viewer: RtcClient, count: int) -> list[int]:
    return [(await viewer.message("chunk_complete"))["session_chunk"] for _ in range(count)]


async def test_what_is_left_at_the_deadline_of_a_drain_goes_on_elsewhere(launch, monkeypatch):
    exact = []
    snapshot = LongLiveStream.snapshot

    def watched(self: LongLiveStream, **how: bool) -> bytes:
        exact.append(how.get("exact", False))
        return snapshot(self, **how)

    monkeypatch.setattr(LongLiveStream, "snapshot", watched)
    scene = launch(TINY)
    session_id, viewer = await story(scene)
    worker = scene.local.worker_of(session_id).name
    assert await scene.client.drain(worker, 0.0) == [worker]

    assert await viewer.message("session_moved") == {"cause": "planned"}
    seen = [data["session_chunk"] for kind, data in viewer.messages if kind == "chunk_complete"]
    assert not any(kind == "sessionEnded" for kind, _ in viewer.messages), "it is not over"
    viewer = await rejoined(scene, session_id, worker)
    state = await viewer.message("state")
    assert (state["current_prompt"], state["scheduled_scene_cuts"]) == ("a red dune", [500])
    assert await viewer.message("session_moved") == {"cause": "planned"}
    last = seen[-1] if seen else 1
    assert await chunks(viewer, 2) == [last + 1, last + 2], "no chunk is left out, and none comes twice"
    assert exact.count(True) == 1, "the move took all there was, and chunks do not"
    assert (await scene.local.store.get(TENANT, session_id)).moves == 0, "nothing was lost"
    await eventually(lambda: worker not in scene.local.backend.workers)


async def test_without_a_deadline_a_drained_worker_keeps_its_session(launch):
    scene = launch(ECHO)
    session_id = await scene.opened()
    worker = scene.local.worker_of(session_id)
    await scene.client.drain(worker.name, None)
    await eventually(lambda: worker.status().state == "draining")
    other = await scene.opened()
    assert scene.local.worker_of(other) is not worker
    assert scene.local.worker_of(session_id) is worker
    await scene.client.delete_session(TENANT, session_id, None)
    await eventually(lambda: worker.name not in scene.local.backend.workers)


async def test_nobody_to_drain(launch):
    scene = launch(ECHO)
    await scene.local.idle("echo")
    with pytest.raises(UnknownWorker, match="nowhere"):
        await scene.client.drain("nowhere", 0.0)
    assert [worker.state for worker in await scene.client.workers()] == ["idle"]


async def test_workers_of_an_older_generation_leave_as_they_idle(launch, succeed):
    scene = launch(ECHO)
    session_id = await scene.opened()
    old = scene.local.worker_of(session_id)
    await succeed(scene, generation=1)
    await eventually(lambda: old.status().state == "draining")
    new = scene.local.worker_of(await scene.opened())
    assert (new.status().generation, old.status().generation) == (1, 0)
    assert scene.local.worker_of(session_id) is old
    await scene.client.delete_session(TENANT, session_id, None)
    await eventually(lambda: old.name not in scene.local.backend.workers)


@pytest.mark.parametrize("verb", ["generate", "commit"])
async def test_a_device_that_fails_costs_no_session(launch, monkeypatch, verb):
    scene = launch(TINY)
    session_id, _ = await story(scene)
    worker = scene.local.worker_of(session_id).name
    works = getattr(Engine, verb)

    def fail_once(*args: Any) -> None:
        monkeypatch.setattr(Engine, verb, works)
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Engine, verb, fail_once)
    viewer = await rejoined(scene, session_id, worker)
    assert (await viewer.message("state"))["scheduled_scene_cuts"] == [500]
    assert await viewer.message("session_moved") == {"cause": "worker_lost"}
    first, second = await chunks(viewer, 2)
    assert second == first + 1
    assert worker not in scene.local.backend.workers
