"""`GET /ready`: 503 while no session can be opened, and 200 with its troubles while something else is wrong."""

from __future__ import annotations

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster import allocator, fleet
from cluster.errors import Unavailable
from cluster.settings import PoolSettings, Settings
from models.echo import EchoModel
from tests.support.local import LocalCluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.fast

WELL = {"redis": True, "allocator": True, "models": True}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One model, of which there is no worker before somebody wants one."""
    return settings.model_copy(update={"pools": (PoolSettings(model="echo"),)})


async def told(http: httpx.AsyncClient, status: int, checks: dict[str, bool], *troubles: dict[str, str]) -> str:
    """Wait for this answer; its text."""

    async def is_so() -> str | None:
        answer = await http.get("/ready")
        body = answer.json()
        found = (answer.status_code, body["ready"], body["checks"], body["troubles"])
        return answer.text if found == (status, status == 200, checks, list(troubles)) else None

    return str(await eventually(is_so))


async def test_a_model_that_cannot_be_loaded_is_tried_when_somebody_wants_it_again(
    http: httpx.AsyncClient, auth: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(model: EchoModel, device: str) -> None:
        raise FileNotFoundError("/weights/of/ours")

    with monkeypatch.context() as patch:
        patch.setattr(EchoModel, "load", fail)
        patch.setattr(fleet, "FIRST_PAUSE_S", 0.05)
        patch.setattr(allocator, "TICK_S", 0.05)
        created = await http.post("/sessions", headers=auth, json={"model": {"name": "echo"}})
        failed = {"kind": "load_failed", "model": "echo"}
        text = await told(http, 503, WELL | {"models": False}, failed)
        assert "weights" not in text
        assert "Error" not in text
        await http.delete(f"/sessions/{created.json()['session_id']}", headers=auth)
        await told(http, 200, WELL)


async def test_without_redis_or_the_allocator_nothing_is_opened(
    http: httpx.AsyncClient, local: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise RedisConnectionError("fault injected")

    async def gone() -> None:
        raise Unavailable("ping: the actor has ended")

    with monkeypatch.context() as patch:
        patch.setattr(local.redis, "ping", away)
        await told(http, 503, WELL | {"redis": False})
    with monkeypatch.context() as patch:
        patch.setattr(local.allocator, "ping", gone)
        await told(http, 503, {"redis": True, "allocator": False})
    await told(http, 200, WELL)
