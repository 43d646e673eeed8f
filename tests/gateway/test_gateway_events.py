"""`GET /sessions/{id}/events`, over a real server: ASGI transports in process do not stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from cluster.settings import PoolSettings, Settings
from tests.support.api import Api
from tests.support.local import LocalCluster
from tests.support.waiting import eventually
from wire.http import SessionState

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One slot only, so that a second session waits."""
    return settings.model_copy(update={"pools": (PoolSettings(model="echo", max_workers=1),)})


@pytest.fixture
async def api(app: FastAPI, api_key: str) -> AsyncIterator[Api]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        api = Api(http)
        await api.sign_in(api_key)
        yield api
    server.should_exit = True
    await serving


async def test_a_waiter_follows_its_place_its_worker_and_its_end(api: Api) -> None:
    first, second, third = [await api.create("echo") for _ in range(3)]
    told = api.events(third)
    now = await anext(told)
    assert now.session.queue is not None
    assert (now.name, now.session.state, now.session.queue.position) == ("state", SessionState.PENDING, 1)
    await api.delete(second)
    now = await anext(told)
    assert now.session.queue is not None
    assert (now.name, now.session.queue.position) == ("queue", 0)
    await api.delete(first)
    while now.session.state is not SessionState.WAITING:
        now = await anext(told)
    assert now.name == "state"
    assert now.session.capabilities
    await api.delete(third)
    assert [(event.name, event.session.state) async for event in told] == [("state", SessionState.CLOSED)]


async def test_a_lost_worker_is_told(api: Api, local: LocalCluster) -> None:
    session_id = await api.create("echo")
    async with aclosing(api.events(session_id)) as told:
        now = await anext(told)
        while now.session.state is not SessionState.WAITING:
            now = await anext(told)
        local.backend.bury(next(iter(local.backend.workers)))
        while now.name != "worker":
            now = await anext(told)
        while now.session.state is not SessionState.WAITING:
            now = await anext(told)
    await api.delete(session_id)


async def test_what_is_refused_is_refused_before_the_stream(api: Api, mint: Any) -> None:
    session_id = await api.create("echo")
    foreign = await mint("rk_other")
    for headers, status in (({"Authorization": ""}, 401), (foreign, 404)):
        answer = await api.http.get(f"/sessions/{session_id}/events", headers=headers)
        assert answer.status_code == status
        assert answer.json()["code"]
    answer = await api.http.get("/sessions/nobody/events")
    assert answer.status_code == 404
    await api.delete(session_id)
