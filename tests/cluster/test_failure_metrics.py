"""Failures are counted where they happen: what the alerts watch grows by one for each, and by nothing else."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster import fleet
from cluster.allocator import MAX_MOVES
from cluster.errors import Unavailable
from cluster.settings import PoolSettings
from models.echo import EchoModel, EchoReplica
from tests.support.waiting import eventually

pytestmark = pytest.mark.fast

ECHO = PoolSettings(model="echo", min_warm=1, max_workers=1)


def counted(series: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(series, {"model": "echo", **labels}) or 0.0


async def test_a_move_is_timed_and_is_no_admission(launch) -> None:
    scene = launch(ECHO)
    admitted, moved = (
        counted("llc_admission_seconds_count"),
        counted("llc_session_move_seconds_count", cause="worker_lost"),
    )
    session_id = await scene.opened()
    assert counted("llc_admission_seconds_count") == admitted + 1
    scene.local.backend.bury(scene.local.worker_of(session_id).name)
    await eventually(lambda: counted("llc_session_move_seconds_count", cause="worker_lost") == moved + 1)
    assert counted("llc_admission_seconds_count") == admitted + 1


async def test_a_session_that_has_lost_too_many_workers_is_counted_as_lost(launch) -> None:
    scene = launch(ECHO)
    before = counted("llc_sessions_lost_total", reason="too many workers lost")
    session_id = await scene.opened()
    for _ in range(MAX_MOVES + 1):
        scene.local.backend.bury((await eventually(lambda: _holder(scene, session_id))).name)
    await eventually(lambda: counted("llc_sessions_lost_total", reason="too many workers lost") == before + 1)


def _holder(scene, session_id: str):
    workers = [handle.worker for handle in scene.local.backend.workers.values()]
    return next((w for w in workers if session_id in w._sessions and session_id not in w._opening), None)


async def test_a_failing_engine_loses_its_session_and_its_client_does_not(launch) -> None:
    scene = launch(ECHO)
    before = counted("llc_sessions_lost_total", reason="generation failed")
    for fails in (True, False):
        session_id = await scene.opened()
        session = scene.local.session(session_id)
        await session.end("generation failed" if fails else "deleted by the client")
    assert counted("llc_sessions_lost_total", reason="generation failed") == before + 1


async def test_a_worker_that_cannot_load_is_counted(launch, monkeypatch) -> None:
    load, tries = EchoModel.load, []

    def fail_once(model: EchoModel, device: str) -> EchoReplica:
        tries.append(device)
        if len(tries) == 1:
            raise ArithmeticError("fault injected")
        return load(model, device)

    before = counted("llc_worker_load_failures_total")
    monkeypatch.setattr(EchoModel, "load", fail_once)
    monkeypatch.setattr(fleet, "FIRST_PAUSE_S", 0.05)
    scene = launch(ECHO)
    await scene.opened()
    assert counted("llc_worker_load_failures_total") == before + 1


async def test_redis_that_is_away_is_seen(launch, monkeypatch) -> None:
    scene = launch(ECHO)
    await scene.local.idle("echo")
    assert REGISTRY.get_sample_value("llc_redis_up", {"process": "allocator"}) == 1

    def away(*args: object, **options: object) -> None:
        raise RedisConnectionError("fault injected")

    with monkeypatch.context() as patch:
        patch.setattr(scene.local.redis, "scan_iter", away)
        with pytest.raises(Unavailable):
            await scene.local.allocator.check_integrity()
    assert REGISTRY.get_sample_value("llc_redis_up", {"process": "allocator"}) == 0
    await scene.local.allocator.check_integrity()
    assert REGISTRY.get_sample_value("llc_redis_up", {"process": "allocator"}) == 1


async def test_waiters_are_counted_by_class(launch) -> None:
    scene = launch(ECHO)
    await scene.opened()
    await asyncio.gather(*(scene.create() for _ in range(2)))
    await eventually(lambda: counted("llc_queue_waiting", **{"class": "normal"}) == 2)
    assert [counted("llc_queue_waiting", **{"class": name}) for name in ("moved", "high", "low")] == [0, 0, 0]


async def test_a_command_is_timed_when_it_is_answered(launch) -> None:
    scene = launch(ECHO)
    viewer = await scene.join(await scene.opened())
    before = counted("llc_command_seconds_count")
    viewer.command("set_effect", {"effect": "sepia"})
    await eventually(lambda: counted("llc_command_seconds_count") == before + 1)
