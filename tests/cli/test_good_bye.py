"""`longlive-cluster serve` is stopped: who is connected is told that it is over, or finds the session again."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.support.api import Api
from tests.support.client import Client
from tests.support.redis_process import RedisProcess
from tests.support.server import Server

pytestmark = pytest.mark.ray


@asynccontextmanager
async def serving(environment: Mapping[str, str]) -> AsyncIterator[tuple[Server, Api]]:
    with Server.start([{"model": "echo", "min_warm": 1}], "off", environment) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            yield server, Api(http)


async def test_with_a_redis_of_its_own_sessions_go_on_after_a_restart() -> None:
    with RedisProcess() as redis:
        async with serving({"LLC_REDIS_URL": redis.url}) as (server, before):
            await before.sign_in(server.api_key)
            client = Client(before, await before.create("echo"), owns=True)
            await client.connect()
        assert "sessionEnded" not in [kind for kind, _ in client.peer.messages]
        async with serving({"LLC_REDIS_URL": redis.url}) as (_, api):
            api.http.headers["Authorization"] = before.http.headers["Authorization"]
            client.api = api
            await api.ready(client.session_id)
            await client.reconnect()
            assert client.peer.is_open()
            await client.close()


@pytest.mark.last
async def test_clients_are_told_when_a_cluster_that_keeps_nothing_stops(server: Server) -> None:
    """The one that all tests share, as to start another takes long."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        api = Api(http)
        await api.sign_in(server.api_key)
        client = Client(api, await api.create("echo"))
        await client.connect()
        server.process.send_signal(signal.SIGTERM)
        assert await client.peer.message("sessionEnded") == {"reason": "cluster stopped"}
        await client.close()
