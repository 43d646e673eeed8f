"""What the allocator knows to stand in the way of sessions, and what is none of that."""

from __future__ import annotations

import shutil
import threading
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY
from redis.exceptions import ResponseError

from cluster import allocator, disks, fleet, troubles
from cluster.api import Standing
from cluster.errors import Unavailable
from cluster.settings import PoolSettings, RecordingSettings, Settings
from models.echo import EchoModel, EchoReplica
from tests.support.local import LocalCluster
from tests.support.redis_process import RedisProcess
from tests.support.waiting import eventually
from wire.http import DiskFull, LoadFailed, WorkersMissing

pytestmark = pytest.mark.fast

RULES = Path(__file__).parents[2] / "helm" / "longlive-cluster" / "files" / "rules" / "alerts.yaml"
Usage = namedtuple("Usage", "total used free")
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=1)
AND_A_SPARE = PoolSettings(model="echo", min_warm=1, max_workers=2)
ON_DEMAND = PoolSettings(model="longlive-v2")
FAILED = LoadFailed(model="echo")


class Loads:
    """Of `echo`: they fail while `fail` is set, and take until `done` is set."""

    def __init__(self, load) -> None:
        self._load = load
        self.fail = False
        self.begun, self.done = threading.Event(), threading.Event()
        self.done.set()

    def __call__(self, model: EchoModel, device: str) -> EchoReplica:
        self.begun.set()
        self.done.wait(10)
        if self.fail:
            raise ArithmeticError("fault injected")
        return self._load(model, device)


@pytest.fixture
def loads(monkeypatch) -> Loads:
    found = Loads(EchoModel.load)
    monkeypatch.setattr(EchoModel, "load", lambda model, device: found(model, device))
    monkeypatch.setattr(fleet, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(allocator, "TICK_S", 0.05)
    return found


def failures() -> float:
    return REGISTRY.get_sample_value("llc_worker_load_failures_total", {"model": "echo"}) or 0.0


async def told(scene, models: bool, *found) -> None:
    """Wait for this answer."""
    checks = {"redis": True, "allocator": True, "models": models}

    async def is_so() -> bool:
        return await scene.client.ready() == Standing(checks, found)

    await eventually(is_so)


async def test_a_model_that_cannot_be_loaded_is_told_until_it_is(launch, loads):
    loads.fail = True
    scene = launch(ECHO)
    await told(scene, False, FAILED)
    loads.fail = False
    await told(scene, True)


async def test_another_model_may_still_be_had(launch, loads):
    loads.fail = True
    await told(launch(ECHO, ON_DEMAND), True, FAILED)


async def test_what_fails_beside_a_loaded_worker_stands_in_nobodys_way(launch, loads):
    scene = launch(AND_A_SPARE)
    await scene.local.idle("echo")
    loads.fail, before = True, failures()
    await scene.opened()
    await eventually(lambda: failures() > before)
    await told(scene, True)


async def test_clients_of_workers_that_leave_still_find_the_gateway(launch, loads):
    scene = launch(AND_A_SPARE)
    session_id = await scene.opened()
    await scene.local.idle("echo")
    loads.fail = True
    for status in await scene.client.workers():
        await scene.client.drain(status.name, None)
    await told(scene, True, FAILED)
    await scene.client.delete_session("key_tenant", session_id, None)
    await told(scene, False, FAILED)


async def test_a_worker_that_dies_while_it_loads_has_not_loaded(launch, loads):
    before = failures()
    loads.done.clear()
    scene = launch(ECHO)
    await eventually(loads.begun.is_set)
    (name,) = scene.local.backend.workers
    scene.local.backend.bury(name)
    await told(scene, False, FAILED)
    assert failures() == before + 1
    loads.done.set()
    await told(scene, True)


async def test_workers_that_die_one_after_the_other_are_started_after_a_pause(launch, loads, monkeypatch):
    monkeypatch.setattr(fleet, "FIRST_PAUSE_S", 60.0)
    before = failures()
    loads.done.clear()
    scene = launch(ECHO)
    for _ in range(2):
        (name,) = await eventually(lambda: list(scene.local.backend.workers))
        await eventually(lambda: failures() == before + len(scene.local.backend.buried))
        scene.local.backend.bury(name)
    await eventually(lambda: failures() == before + 2)
    await told(scene, False, FAILED)
    assert not scene.local.backend.workers
    loads.done.set()


async def test_a_worker_that_does_not_come_is_missing(launch, loads, monkeypatch):
    """As one does whose pod waits: for a secret, or for weights with the sum that was named."""
    loads.done.clear()
    scene = launch(ECHO)
    await told(scene, True)
    monkeypatch.setattr(troubles, "PATIENCE_S", 0.0)
    await told(scene, True, WorkersMissing(model="echo"))
    loads.done.set()
    await told(scene, True)


def _exported(use: str) -> float:
    free, size = (REGISTRY.get_sample_value(f"llc_disk_{what}_bytes", {"use": use}) for what in ("free", "size"))
    return free / size


@pytest.fixture
def settings(settings: Settings, tmp_path) -> Settings:
    recording = RecordingSettings(keep="clips", folder=tmp_path / "recordings")
    return settings.model_copy(update={"recording": recording})


async def test_full_disks_are_told_by_the_bound_of_the_alert(launch, monkeypatch):
    free = [4]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100, 100 - free[0], free[0]))
    monkeypatch.setattr(disks, "LOOK_S", 0.01)
    scene = launch(ECHO)
    await told(scene, True, DiskFull(disk="recordings"), DiskFull(disk="storage"))
    assert _exported("recordings") == _exported("storage") == 0.04
    free[0] = 5
    await told(scene, True)
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    (bound,) = [rule["expr"] for rule in rules if rule["alert"] == "LongliveDiskFull"]
    assert bound == f"llc_disk_free_bytes / llc_disk_size_bytes < {disks.LEAST_FREE}"


async def test_a_disk_that_does_not_answer_is_not_called_full(launch, monkeypatch, capsys):
    def away(folder):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(shutil, "disk_usage", away)
    scene = launch(ECHO)
    await eventually(lambda: "disk_not_looked_at" in capsys.readouterr().out)
    await told(scene, True)


async def test_a_redis_that_cannot_write_is_as_good_as_away(settings: Settings, tmp_path):
    """Its disk is full, or its volume gone: it answers who reads, and to a ping that it cannot write."""
    volume = tmp_path / "volume"
    volume.mkdir()
    with RedisProcess() as process:
        local = LocalCluster(settings, process.url)
        await local.redis.config_set("save", "3600 1")
        await local.redis.config_set("dir", str(volume))
        volume.rmdir()
        await local.redis.bgsave()

        async def refuses() -> bool:
            return not (await local.client.ready()).checks["redis"]

        await eventually(refuses)
        assert await local.redis.get("any") is None
        with pytest.raises(ResponseError, match="MISCONF"):
            await local.redis.ping()
        with pytest.raises(Unavailable):
            await local.allocator.check_integrity()
        assert REGISTRY.get_sample_value("llc_redis_up", {"process": "allocator"}) == 0
        await local.close()
