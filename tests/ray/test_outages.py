"""Everything beside a session's worker dies under a live session, and cuts nothing; a worker that hangs is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import ray

from benchmarks.viewer import MODEL, PICTURES, Viewer, signed_in
from tests.support.redis_process import RedisProcess
from tests.support.server import WORKERS, Server
from tests.support.waiting import eventually
from wire.http import Session, SessionState

pytestmark = pytest.mark.ray

POOLS = ({"model": MODEL, "min_warm": 1, "max_workers": 2}, {"model": "echo", "max_workers": 1})
PATIENCE_S = 30.0
AWAY = 3
"""Chunks that are played while a part is away: about as many seconds."""
AT_A_TIME = 8


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisProcess]:
    """The cluster's Redis."""
    with RedisProcess() as process:
        yield process


@pytest.fixture(scope="module")
def afterwards() -> Iterator[ExitStack]:
    """What is to be done when the cluster has ended."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def cluster(redis: RedisProcess, afterwards: ExitStack) -> Iterator[Server]:
    """A cluster whose Ray keeps what it knows in a Redis too, so that its GCS may die."""
    with RedisProcess() as of_ray:
        more = {
            "LLC_REDIS_URL": redis.url,
            "LLC_JWT_SECRET": "of tests alone, thirty-two bytes at least",
            "RAY_REDIS_ADDRESS": f"127.0.0.1:{of_ray.port}",
            "RAY_external_storage_namespace": "outages",
        }
        with Server.start(POOLS, keep="off", more=more) as server:
            yield server


@pytest.fixture
async def viewer(cluster: Server) -> AsyncIterator[Viewer]:
    """A client that watches a story."""
    async with signed_in(cluster.url, cluster.api_key) as api, await Viewer.create(api, MODEL) as viewer:
        await viewer.connect()
        viewer.command("set_shot", prompt="a red dune")
        viewer.command("start")
        await plays(viewer, 1)
        yield viewer


async def plays(viewer: Viewer, count: int) -> None:
    """So many more chunks come, and nothing has gone wrong."""
    await viewer.plays(count)
    assert viewer.chunks == list(range(1, len(viewer.chunks) + 1)), "each chunk is announced once, in order"
    assert not viewer.of_type("sessionEnded")


async def successor(cluster: Server, title: str, pid: int) -> None:
    """Another process has taken the place of one that was killed."""
    await eventually(lambda: any(other != pid for other in cluster.pids(title)), PATIENCE_S)


async def answers(viewer: Viewer) -> SessionState:
    """The session's state, as soon as the gateway tells it."""

    async def look() -> SessionState | None:
        try:
            return (await viewer.api.session(viewer.session_id)).state
        except (httpx.TransportError, httpx.HTTPStatusError):
            return None

    state: SessionState = await eventually(look, PATIENCE_S)
    return state


async def several(viewer: Viewer) -> list[Session]:
    """The session, by requests that have several of the gateway's connections to Redis in use."""
    return await asyncio.gather(*(viewer.api.session(viewer.session_id) for _ in range(AT_A_TIME)))


@pytest.mark.parametrize("title", ["ray::ServeReplica:gateway", "ray::ServeController"])
async def test_what_serves_the_gateway_dies(cluster: Server, viewer: Viewer, title: str) -> None:
    (pid,) = cluster.pids(title)
    os.kill(pid, signal.SIGKILL)
    await plays(viewer, 2)
    await successor(cluster, title, pid)
    assert await answers(viewer) is SessionState.ACTIVE


@contextmanager
def gcs_away(cluster: Server, afterwards: ExitStack) -> Iterator[None]:
    """Ray's GCS is dead in the block, and runs after it as it was started."""
    (pid,) = cluster.pids(str(Path(ray.__file__).parent / "core/src/ray/gcs/gcs_server"))
    process = Path(f"/proc/{pid}")
    command, variables = ((process / name).read_bytes().rstrip(b"\0").split(b"\0") for name in ("cmdline", "environ"))
    environment = dict(each.split(b"=", 1) for each in variables)
    os.kill(pid, signal.SIGKILL)
    yield
    again = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    afterwards.callback(again.wait)
    afterwards.callback(again.terminate)


async def test_gcs_dies_and_comes_back(cluster: Server, viewer: Viewer, afterwards: ExitStack) -> None:
    with gcs_away(cluster, afterwards):
        await plays(viewer, AWAY)
    other = await viewer.api.create("echo")
    await viewer.api.ready(other)  # its worker is started now, which takes a GCS
    await viewer.api.delete(other)
    await plays(viewer, 1)


@pytest.mark.parametrize("empty", [False, True], ids=["with its data", "empty"])
async def test_redis_dies_and_comes_back(cluster: Server, viewer: Viewer, redis: RedisProcess, empty: bool) -> None:
    await several(viewer)
    one, waits = [await viewer.api.create("echo") for _ in range(2)]  # there is one worker for both
    redis.kill()
    try:
        await plays(viewer, AWAY)
    finally:
        redis.start(empty=empty)
    await plays(viewer, 2)
    assert {each.state for each in await several(viewer)} == {SessionState.ACTIVE}, "and none is refused"
    viewer.command("schedule_scene_cut", prompt="a harbour", at_session_chunk=500)
    await viewer.until(lambda: bool(viewer.of_type("scene_cut_scheduled")))
    assert (await viewer.api.session(waits)).queue is not None, "it waits where it waited"
    for other in (waits, one):
        await eventually(partial(left, viewer, other), PATIENCE_S)


async def left(viewer: Viewer, session_id: str) -> bool:
    """Whether the registry knew the session, which is ended now."""
    try:
        await viewer.api.delete(session_id)
    except httpx.HTTPStatusError:
        return False
    return True


async def test_a_worker_that_hangs_is_left(cluster: Server, viewer: Viewer) -> None:
    worker = await asyncio.to_thread(cluster.holder, viewer.session_id)
    announced = viewer.chunks[-1]
    os.kill(worker["pid"], signal.SIGSTOP)
    async for event in viewer.api.events(viewer.session_id):
        if event.name == "worker":
            break
    pictures = len(viewer.frames)
    await viewer.reconnect()
    await viewer.until(lambda: viewer.chunks[-1] > announced + 1 and len(viewer.frames) > pictures + PICTURES)
    assert set(viewer.chunks) == set(range(1, viewer.chunks[-1] + 1)), "none is left out"
    assert viewer.of_type("session_moved")[-1][1] == {"cause": "worker_lost"}
    assert not viewer.of_type("sessionEnded")
    await eventually(lambda: worker["pid"] not in cluster.pids(WORKERS), PATIENCE_S)  # Ray waits before it does


def test_after_all_of_it_everything_fits(cluster: Server) -> None:
    assert "all fits" in cluster.run("integrity", "--within", str(PATIENCE_S))
