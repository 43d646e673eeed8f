"""Quotas over HTTP: exact under simultaneous requests, each refusal with its code and a time to come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from cluster.client import ClusterClient
from cluster.keys import KeyLimits, KeyRing
from cluster.records import PriorityClass
from cluster.settings import PoolSettings, Settings
from tests.support.auth import gateway
from tests.support.local import LocalCluster

pytestmark = pytest.mark.fast

AT_ONCE = 24
ECHO = {"json": {"model": {"name": "echo"}}}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One slot."""
    return settings.model_copy(update={"pools": (PoolSettings(model="echo"),)})


@pytest.fixture
async def gateways(cluster: ClusterClient, settings: Settings) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two replicas."""
    async with gateway(cluster, settings) as first, gateway(cluster, settings) as second:
        yield [first, second]


async def _all_at_once(gateways: list[httpx.AsyncClient], headers: dict[str, str]) -> list[httpx.Response]:
    ways = [gateways[n % len(gateways)] for n in range(AT_ONCE)]
    return await asyncio.gather(*(way.post("/sessions", headers=headers, **ECHO) for way in ways))


def _outcomes(answers: list[httpx.Response]) -> Counter[tuple[int, str]]:
    return Counter((answer.status_code, answer.json().get("code", "")) for answer in answers)


async def test_an_account_has_never_one_session_too_many(
    gateways: list[httpx.AsyncClient], keys: KeyRing, mint: Any
) -> None:
    _, raw = await keys.create("small", KeyLimits(max_sessions=5))
    answers = await _all_at_once(gateways, await mint(raw))
    assert _outcomes(answers) == {(201, ""): 5, (429, "quota_exceeded"): AT_ONCE - 5}


async def test_a_token_opens_never_one_session_too_many(gateways: list[httpx.AsyncClient], mint: Any) -> None:
    detail = {"type": "session", "resources": {"models": {"match": ["echo"]}}, "constraints": {"max_sessions": 3}}
    answers = await _all_at_once(gateways, await mint(authorization_details=[detail]))
    assert _outcomes(answers) == {(201, ""): 3, (403, "insufficient_scope"): AT_ONCE - 3}


async def test_the_next_detail_counts_when_the_first_is_used_up(
    gateways: list[httpx.AsyncClient], mint: Any, local: LocalCluster
) -> None:
    def detail(most: int, seconds: int) -> dict[str, Any]:
        constraints = {"max_sessions": most, "max_session_duration_seconds": seconds}
        return {"type": "session", "resources": {"models": {"all": True}}, "constraints": constraints}

    answers = await _all_at_once(gateways, await mint(authorization_details=[detail(2, 100), detail(5, 50)]))
    assert _outcomes(answers) == {(201, ""): 5, (403, "insufficient_scope"): AT_ONCE - 5}
    durations = [record.max_duration_s async for record in local.store.all_open()]
    assert sorted(durations) == [50, 50, 50, 100, 100]


async def test_creations_are_limited_per_minute(gateways: list[httpx.AsyncClient], keys: KeyRing, mint: Any) -> None:
    _, raw = await keys.create("slow", KeyLimits(max_creations_per_minute=4))
    headers = await mint(raw)
    answers = await _all_at_once(gateways, headers)
    assert _outcomes(answers) == {(201, ""): 4, (429, "creations_exceeded"): AT_ONCE - 4}
    for answer in answers:
        if answer.status_code == 201:
            await gateways[0].delete(f"/sessions/{answer.json()['session_id']}", headers=headers)
    refused = await gateways[1].post("/sessions", headers=headers, **ECHO)
    assert refused.json()["code"] == "creations_exceeded", "sessions that are over were created all the same"
    assert 50 <= int(refused.headers["Retry-After"]) <= 60


async def test_a_keys_class_decides_who_waits_before_whom(http: httpx.AsyncClient, keys: KeyRing, mint: Any) -> None:
    queued: dict[str, tuple[str, dict[str, str]]] = {}
    for name in ("first", None, PriorityClass.LOW, PriorityClass.NORMAL, PriorityClass.HIGH):
        limits = KeyLimits() if name == "first" else KeyLimits(priority=name)
        headers = await mint((await keys.create("any", limits))[1])
        queued[str(name)] = (await http.post("/sessions", headers=headers, **ECHO)).json()["session_id"], headers
    positions = {}
    for name, (session_id, headers) in queued.items():
        place = (await http.get(f"/sessions/{session_id}", headers=headers)).json().get("queue")
        positions[name] = place and place["position"]
    del positions["first"]
    assert sorted(positions, key=positions.get) == ["high", "None", "normal", "low"]
