"""What a session that is really played counts for its account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cluster.settings import PoolSettings
from cluster.usage import State, UsageStore
from tests.support.clock import FakeClock
from tests.support.waiting import eventually

pytestmark = pytest.mark.media

TENANT = "key_tenant"
LONGLIVE = PoolSettings(model="longlive-v2", min_warm=1)


async def test_a_session_is_counted_by_what_it_does(launch, monkeypatch):
    scene = launch(LONGLIVE)
    await scene.local.idle("longlive-v2")
    (handle,) = scene.local.backend.workers.values()
    ledger, clock = handle.worker._ledger, FakeClock()
    monkeypatch.setattr(ledger, "monotonic", clock)
    session_id = await scene.opened("longlive-v2")
    stay = scene.local.session(session_id)._stay
    monkeypatch.setattr(stay, "_share", 0.5)  # as if there were a GPU
    clock.advance(100)
    viewer = await scene.join(session_id)
    await viewer.message("state")
    clock.advance(20)
    viewer.command("set_shot", {"prompt": "dunes"})
    viewer.command("start")
    done = (await viewer.message("chunk_complete"))["session_chunk"]
    assert stay.state is State.GENERATING
    clock.advance(3)
    viewer.command("pause")
    done = (await viewer.message("generation_paused"))["chunk_index"] + 1
    await eventually(lambda: stay.state is State.PAUSED)
    clock.advance(4000)
    await viewer.close()
    await eventually(lambda: stay.state is State.ORPHANED)
    clock.advance(50_000)
    await scene.client.delete_session(TENANT, session_id, None)
    await ledger.write()
    today = datetime.now(UTC).date()
    found = await UsageStore(scene.local.redis, scene.local.settings).days(TENANT, today - timedelta(days=2), today)
    days = [model for day in found for model in day.models]
    seconds = {
        state: sum(getattr(day.seconds, state) for day in days) for state in ("generating", "paused", "orphaned")
    }
    assert seconds == {"generating": 3, "paused": 4020, "orphaned": 50_100}
    assert sum(day.gpu_seconds.generating for day in days) == 1.5
    assert (sum(day.chunks for day in days), sum(day.frames for day in days)) == (done, 29 * done)
    assert sum(day.busy_seconds for day in days) > 0
