"""`GET /sessions/{id}/events`, over a real server: ASGI transports in process do not stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from cluster.settings import PoolSettings, Settings
from tests.support.local import LocalCluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

Headers = dict[str, str]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One slot only, so that a second session waits."""
    return settings.model_copy(update={"pools": (PoolSettings(model="echo", max_workers=1),)})


@pytest.fixture
async def server(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    server.should_exit = True
    await serving


@dataclass(frozen=True)
class Event:
    name: str
    data: dict[str, Any]


async def events(answer: httpx.Response) -> AsyncIterator[Event]:
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield Event(name, json.loads(line.removeprefix("data: ")))


async def open_session(server: httpx.AsyncClient, auth: Headers) -> str:
    answer = await server.post("/sessions", headers=auth, json={"model": {"name": "echo"}})
    return str(answer.json()["session_id"])


async def test_a_waiter_follows_its_place_its_worker_and_its_end(server: httpx.AsyncClient, auth: Headers) -> None:
    first, second, third = [await open_session(server, auth) for _ in range(3)]
    async with server.stream("GET", f"/sessions/{third}/events", headers=auth) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer)
        now = await anext(told)
        assert (now.name, now.data["state"], now.data["queue"]["position"]) == ("state", "PENDING", 1)
        await server.delete(f"/sessions/{second}", headers=auth)
        now = await anext(told)
        assert (now.name, now.data["queue"]["position"]) == ("queue", 0)
        await server.delete(f"/sessions/{first}", headers=auth)
        while now.data["state"] != "WAITING":
            now = await anext(told)
        assert now.name == "state"
        assert now.data["capabilities"]
        await server.delete(f"/sessions/{third}", headers=auth)
        assert [(event.name, event.data["state"]) async for event in told] == [("state", "CLOSED")]


async def test_a_lost_worker_is_told(server: httpx.AsyncClient, auth: Headers, local: LocalCluster) -> None:
    session_id = await open_session(server, auth)
    async with server.stream("GET", f"/sessions/{session_id}/events", headers=auth) as answer:
        told = events(answer)
        now = await anext(told)
        while now.data["state"] != "WAITING":
            now = await anext(told)
        local.backend.bury(next(iter(local.backend.workers)))
        while now.name != "worker":
            now = await anext(told)
        while now.data["state"] != "WAITING":
            now = await anext(told)
    await server.delete(f"/sessions/{session_id}", headers=auth)


async def test_what_is_refused_is_refused_before_the_stream(
    server: httpx.AsyncClient, auth: Headers, mint: Any
) -> None:
    session_id = await open_session(server, auth)
    foreign = await mint("rk_other")
    for headers, status in (({}, 401), (foreign, 404)):
        answer = await server.get(f"/sessions/{session_id}/events", headers=headers)
        assert answer.status_code == status
        assert answer.json()["code"]
    answer = await server.get("/sessions/nobody/events", headers=auth)
    assert answer.status_code == 404
    await server.delete(f"/sessions/{session_id}", headers=auth)
