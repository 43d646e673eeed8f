"""Redis servers that are killed: the embedded one comes back by itself, and connections to any are replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from cluster.redis_server import EmbeddedRedis
from cluster.remote import open_redis
from tests.support.redis_process import RedisProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

AT_A_TIME = 8


def process(client: Redis) -> int | None:
    """The id of the server's process; None while there is none."""
    try:
        return int(client.info("server")["process_id"])
    except RedisError:
        return None


async def test_the_embedded_one_is_started_again_with_its_data() -> None:
    with EmbeddedRedis() as server, Redis.from_url(server.url) as client:
        first = process(client)
        assert first is not None
        client.set("kept", "so")
        with capture_logs() as logged:
            os.kill(first, signal.SIGKILL)
            with EmbeddedRedis():  # which looks for what others have left behind, and must not take this for it
                assert await eventually(lambda: process(client)) != first
        assert client.get("kept") == b"so"
        assert [line["event"] for line in logged] == ["embedded_redis_ended"]


def test_nothing_of_the_embedded_one_outlives_it() -> None:
    with EmbeddedRedis() as server, Redis.from_url(server.url) as client:
        folder, first = Path(server.url.removeprefix("unix://")).parent, process(client)
        os.kill(first, signal.SIGKILL)
    assert not folder.exists()
    assert server._process.poll() is not None, "also where it was about to be started again"


async def test_connections_that_have_died_with_it_are_replaced_before_they_are_used() -> None:
    with RedisProcess() as server:
        client = open_redis(server.url)
        await asyncio.gather(*(client.ping() for _ in range(AT_A_TIME)))
        server.kill()
        await asyncio.to_thread(server.start)
        assert all(await asyncio.gather(*(client.ping() for _ in range(AT_A_TIME))))
        await client.aclose()
