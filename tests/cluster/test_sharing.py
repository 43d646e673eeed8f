"""Sessions that share a worker: as many as its device keeps in time, by its own word, and the next one waits."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cluster.errors import NoRoom
from cluster.settings import PoolSettings
from models.echo import FORMAT, EchoReplica, EchoStream
from models.media import Inputs
from tests.support.grants import granted
from tests.support.waiting import eventually
from wire.http import SessionState

TENANT = "key_tenant"
PERIOD_S = 1 / FORMAT.fps
"""Of `echo`, whose chunks are single pictures."""
SHARED = PoolSettings(model="echo", min_warm=1, max_workers=1, sessions_per_worker=3)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that needs 0.4 of the time, two sessions can be kept."""
    monkeypatch.setattr(EchoReplica, "trial", lambda self: 0.4 * PERIOD_S)


def workers(scene: Any) -> list[Any]:
    return [handle.worker for handle in scene.local.backend.workers.values()]


@pytest.mark.fast
async def test_the_third_waits_where_a_trial_says_that_two_are_in_time(launch, slow):
    scene = launch(SHARED)
    first, second = await scene.opened(), await scene.opened()
    third = await scene.create()
    assert (third.state, third.queue.position) == (SessionState.PENDING, 0)
    (worker,) = workers(scene)
    assert worker.status().capacity == 2
    with pytest.raises(NoRoom):
        await worker.reserve(granted("another"))
    assert set(worker._sessions) == {first, second}
    await scene.client.delete_session(TENANT, first, None)
    await scene.held(third.session_id)


@pytest.mark.fast
async def test_who_does_not_fit_is_reason_for_another_worker(launch, slow):
    scene = launch(SHARED.model_copy(update={"max_workers": 2, "min_warm": 0}))
    for session_id in [(await scene.create()).session_id for _ in range(3)]:
        await scene.held(session_id)
    assert sorted(len(worker._sessions) for worker in workers(scene)) == [1, 2]


@pytest.mark.fast
async def test_a_grant_that_comes_too_late_is_refused_and_its_session_is_the_next(launch):
    scene = launch(SHARED)
    first = await scene.opened()
    (worker,) = workers(scene)
    asked, go_on = asyncio.Event(), asyncio.Event()
    reserve = worker.reserve

    async def held_back(grant: Any) -> int:
        asked.set()
        await go_on.wait()
        return await reserve(grant)

    worker.reserve = held_back
    creating = asyncio.create_task(scene.create())
    await asked.wait()
    worker._device.note(0.9 * PERIOD_S)
    go_on.set()
    second = await creating
    third = await scene.create()
    assert (second.state, third.state) == (SessionState.PENDING, SessionState.PENDING)
    places = [(await scene.client.get_session(TENANT, each.session_id)).queue.position for each in (second, third)]
    assert places == [0, 1]
    record = await scene.local.store.get(TENANT, second.session_id)
    assert (record.worker, record.started_at, record.moves) == ("", 0.0, 0)
    await scene.client.delete_session(TENANT, first, None)
    await scene.held(second.session_id)
    assert (await scene.client.get_session(TENANT, third.session_id)).state is SessionState.PENDING


@pytest.mark.media
async def test_the_third_waits_where_chunks_turn_out_to_be_slow(launch, monkeypatch):
    def slow(self: EchoStream, inputs: Inputs) -> Inputs:
        time.sleep(0.4 * PERIOD_S)
        return inputs

    monkeypatch.setattr(EchoStream, "generate", slow)
    scene = launch(SHARED)
    sessions = [await scene.opened(), await scene.opened()]
    (worker,) = workers(scene)
    assert worker.status().capacity == 3, "nothing is known yet"
    for session_id in sessions:
        await scene.join(session_id)
    await eventually(lambda: worker.status().capacity < 3)
    third = await scene.create()
    assert (third.state, third.queue.position) == (SessionState.PENDING, 0)
