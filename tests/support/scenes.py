"""What tests of the allocator ask of a scene: who holds a session, and what Redis says of it."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from prometheus_client import REGISTRY

from cluster.records import SessionRecord
from cluster.settings import PoolSettings
from longlive import stamp
from tests.support.local import LocalCluster, LocalWorker
from tests.support.rtc_client import Received
from tests.support.waiting import eventually
from wire.http import SessionState

TENANT = "key_tenant"
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=1)
ONE_AND_A_SPARE = PoolSettings(model="echo", min_warm=1, max_workers=2)


def handles(local: LocalCluster) -> list[LocalWorker]:
    return list(local.backend.workers.values())


def held(local: LocalCluster) -> Counter[str]:
    """Sessions by how many live workers hold them."""
    return Counter(session_id for handle in handles(local) for session_id in handle.worker._sessions)


async def record_of(scene, session_id: str) -> SessionRecord:
    return await scene.local.store.get(TENANT, session_id)


async def held_by(scene, session_id: str, epoch: int) -> SessionRecord:
    """Wait until a worker holds the session under this epoch."""

    async def reached() -> SessionRecord | None:
        record = await record_of(scene, session_id)
        there = record.epoch == epoch and record.state is SessionState.WAITING and held(scene.local)[session_id]
        return record if there else None

    return await eventually(reached)


async def in_state(scene, session_id: str, state: SessionState) -> SessionRecord:
    async def reached() -> SessionRecord | None:
        record = await record_of(scene, session_id)
        return record if record.state is state else None

    return await eventually(reached)


def bury(scene, session_id: str) -> str:
    """Have the session's worker die; its name."""
    name = scene.local.worker_of(session_id).name
    scene.local.backend.bury(name)
    return name


def measured(series: str) -> float:
    """What Prometheus would read for `echo`."""
    return REGISTRY.get_sample_value(series, {"model": "echo"}) or 0.0


def numbers(received: Received) -> list[int | None]:
    return [number for number, _ in groupby(stamp.read(picture) for picture in received.pictures)]
