"""A pool that keeps no worker warm: who comes first waits for one to load, and is told how long others took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.policy import Pool
from cluster.records import Ticket
from cluster.settings import PoolSettings
from models.contract import Replica
from models.echo import EchoModel
from tests.support.clock import FakeClock
from tests.support.waiting import LIMIT_S, eventually
from wire.http import SessionState

pytestmark = pytest.mark.fast

TENANT = "key_tenant"
IDLE_S, LOAD_S = 60.0, 30.0
COLD = PoolSettings(model="echo", min_warm=0, max_workers=1, idle_s=IDLE_S)


class Loading:
    """Models load for as long as the test wants them to."""

    def __init__(self) -> None:
        self._may_end = threading.Event()

    def end(self) -> None:
        self._may_end.set()

    def hold(self) -> None:
        self._may_end.clear()

    def __call__(self, model: EchoModel, device: str) -> Replica:
        assert self._may_end.wait(LIMIT_S)
        return _load(model, device)


_load = EchoModel.load


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loading]:
    held = Loading()
    monkeypatch.setattr(EchoModel, "load", lambda model, device: held(model, device))
    yield held
    held.end()


def clock_of(scene: Any, monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The pools' clock from now on."""
    clock, begun = FakeClock(), time.monotonic()
    monkeypatch.setattr(scene.local.allocator._clock, "_monotonic", lambda: begun + clock())
    return clock


async def has_its_place(scene: Any) -> None:
    """The one worker has said that it loads."""
    workers = scene.local.allocator._pools["echo"].workers
    await eventually(lambda: [worker.started for worker in workers.values()] == [True])


async def look(scene: Any) -> None:
    """The allocator has looked at everything once more."""
    allocator = scene.local.allocator
    allocator._look_at = 0.0
    allocator._kick.set()
    await eventually(lambda: allocator._look_at > 0)


async def test_the_second_cold_start_is_announced_by_the_first(launch, loading, monkeypatch):
    scene = launch(COLD)
    clock = clock_of(scene, monkeypatch)
    first = await scene.create()
    assert (first.state, first.queue.position, first.queue.eta_s) == (SessionState.PENDING, 0, None)
    await has_its_place(scene)
    clock.advance(LOAD_S)
    loading.end()
    await scene.held(first.session_id)
    await scene.client.delete_session(TENANT, first.session_id, None)
    await eventually(lambda: scene.local.allocator._pools["echo"].free == 1)
    await look(scene)
    clock.advance(IDLE_S + 1)
    await look(scene)
    await eventually(lambda: not scene.local.backend.workers)

    loading.hold()
    second = await scene.create()
    assert (second.state, second.queue.position, second.queue.eta_s) == (SessionState.PENDING, 0, LOAD_S)
    await has_its_place(scene)
    clock.advance(12)
    assert (await scene.client.get_session(TENANT, second.session_id)).queue.eta_s == LOAD_S - 12
    loading.end()
    await scene.held(second.session_id)


def test_a_cold_start_is_foreseen_by_the_running_mean_of_those_there_were():
    pool = Pool(PoolSettings(model="m", min_warm=0, max_workers=1, idle_s=IDLE_S), 10)
    now = 0.0
    for n, load_s in enumerate((LOAD_S, 2 * LOAD_S)):
        pool.spawned(f"w{n}", now)
        pool.started(f"w{n}", now)
        now += load_s
        pool.loaded(f"w{n}", load_s)
        pool.to_drain(now)
        now += IDLE_S + 1
        assert pool.to_drain(now) == [f"w{n}"]
        pool.drain(f"w{n}")
        pool.gone(f"w{n}")
    pool.enqueue(Ticket(session_id="waits", tenant="a", model="m", arrival=now), now)
    assert pool.place("waits", now).eta_s == 35, "36 s, announced in steps of five"
    assert pool.to_spawn() == 1
