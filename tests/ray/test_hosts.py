"""Two hosts in networks of their own, a session on each: one is cut off, and comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from benchmarks.viewer import MODEL, Viewer, signed_in
from cluster.redis_server import binary
from tests.support.api import Event
from tests.support.hosts import GCS_PORT, PROGRAMS, Host
from tests.support.netns import NoNamespaces, namespaces, unplugged, wire
from tests.support.waiting import eventually

pytestmark = pytest.mark.ray

FIRST, SECOND = "198.18.46.1", "198.18.46.2"
REDIS_PORT, PORT = 6390, 8080
URL = f"http://{FIRST}:{PORT}"
KEY = "rk_hosts"
SLOTS = {"slot": 1.0}
PATIENCE_S = 90.0
VARIABLES = {
    "LLC_API_KEYS": KEY,
    "LLC_POOLS": json.dumps([{"model": MODEL, "min_warm": 2, "max_workers": 2, "resources": SLOTS}]),
    "LLC_REDIS_URL": f"redis://{FIRST}:{REDIS_PORT}",
    "LLC_JWT_SECRET": "of tests alone, thirty-two bytes at least",
    "LLC_METRICS_PORT": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ADDRESS": f"{FIRST}:{GCS_PORT}",
    "RAY_worker_niceness": "0",
    # Its own patience with a node that is cut off is half a minute.
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A cluster over two hosts, each with room for one worker. All else is on the first."""
    try:
        with namespaces("host-one", "host-two") as (one, two):
            wire(one, f"{FIRST}/24", two, f"{SECOND}/24")
            first, second = Host(one, FIRST, VARIABLES), Host(two, SECOND, VARIABLES, head=FIRST)
            try:
                first.run(binary(), "--port", str(REDIS_PORT), "--bind", FIRST, "--save", "", "--protected-mode", "no")
                first.join(2, SLOTS)
                second.join(0, SLOTS)
                first.run(PROGRAMS / "longlive-cluster", "serve", "--host", "0.0.0.0", "--port", str(PORT))
                yield first, second
            finally:
                second.power_off()
                first.power_off()
    except NoNamespaces as error:
        pytest.skip(str(error))


async def answers() -> bool:
    async with httpx.AsyncClient(base_url=URL) as http:
        try:
            return (await http.get("/ready")).is_success
        except httpx.TransportError:
            return False


async def workers(first: Host) -> list[dict[str, Any]]:
    told = await asyncio.to_thread(first.told, PROGRAMS / "longlive-cluster", "workers", "--json")
    return [json.loads(line) for line in told.splitlines()]


@pytest.fixture
async def viewers(hosts: tuple[Host, Host]) -> AsyncIterator[list[Viewer]]:
    """A story on each host; the viewers of both are on the first one."""
    first, _ = hosts
    with first.network.entered():
        await eventually(answers, PATIENCE_S)
        async with signed_in(URL, KEY) as api, AsyncExitStack() as stack:
            found = []
            for _ in hosts:
                viewer = await stack.enter_async_context(await Viewer.create(api, MODEL))
                found.append(viewer)
                await viewer.connect()
                viewer.command("set_shot", prompt="a red dune")
                viewer.command("start")
                await viewer.plays(1)
            yield found


async def told(viewer: Viewer, when: Callable[[Event], object]) -> Event:
    """The first event of the session of which `when` is true."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in viewer.api.events(viewer.session_id):
            if when(event):
                return event
    raise AssertionError("the session is over")


async def test_a_host_is_cut_off_and_comes_back(hosts: tuple[Host, Host], viewers: list[Viewer]) -> None:
    first, second = hosts
    held = {s["session_id"]: each["pid"] for each in await workers(first) for s in each["sessions"]}
    (goes,) = (viewer for viewer in viewers if held[viewer.session_id] in second.network.pids())
    (stays,) = (viewer for viewer in viewers if viewer is not goes)
    with unplugged(second.network, first.network):
        waits = await told(goes, lambda event: event.session.queue)
        assert waits.session.queue is not None
        assert waits.session.queue.position == 0, "nobody is before it"
        await stays.plays(2)
    await told(goes, lambda event: event.session.queue is None)
    await goes.reconnect()
    await goes.plays(2)
    await stays.plays(1)
    untold = set(range(1, max(goes.chunks) + 1)) - set(goes.chunks)
    assert len(untold) <= 1, "none is left out, but what was being announced when the wire was cut"
    assert stays.chunks == list(range(1, len(stays.chunks) + 1)), "and none comes twice here"
    integrity = (PROGRAMS / "longlive-cluster", "integrity", "--within", "30")
    assert "all fits" in await asyncio.to_thread(first.told, *integrity)
