from __future__ import annotations

from datetime import date
from typing import Any

import httpx
import pytest

from cluster.ledger import Ledger
from cluster.usage import State, UsageStore
from tests.support.clock import FakeClock
from tests.support.local import LocalCluster

pytestmark = pytest.mark.fast

NOON = 1_795_176_000.0
"""2026-11-20 12:00 UTC."""
RANGE = {"from": "2026-11-01", "to": "2026-11-30"}


@pytest.fixture
async def played(local: LocalCluster, http: httpx.AsyncClient, mint: Any) -> None:
    """The first account has played for a minute and waited for two seconds, the second one for an hour."""
    wall = FakeClock()
    wall.now = NOON
    ledger = Ledger(UsageStore(local.redis, local.settings), wall=wall)
    for raw_key, seconds in (("rk_test", 60), ("rk_other", 3600)):
        key = await local.client.resolve_key(raw_key)
        assert key is not None
        ledger.add(key.key_id, "echo", "sessions", 1)
        ledger.spent(key.key_id, "echo", State.GENERATING, seconds * 1000)
        ledger.spent(key.key_id, "echo", State.WAITING, 2000)
        ledger.lasted(key.key_id, "echo", "gpu_generating_ms", seconds * 500)
    await ledger.write()


@pytest.mark.usefixtures("played")
async def test_an_account_sees_what_it_has_used_and_nothing_of_others(
    http: httpx.AsyncClient, auth: dict[str, str], mint: Any
) -> None:
    answer = await http.get("/usage", params=RANGE, headers=auth)
    assert answer.status_code == 200
    echo = {
        "model": "echo",
        "sessions": 1,
        "seconds": {"generating": 60, "paused": 0, "orphaned": 0, "waiting": 2},
        "gpu_seconds": {"generating": 30, "paused": 0, "orphaned": 0},
        "busy_seconds": 0,
        "chunks": 0,
        "frames": 0,
    }
    assert answer.json() == RANGE | {"days": [{"day": "2026-11-20", "models": [echo]}]}
    other = (await http.get("/usage", params=RANGE, headers=await mint("rk_other"))).json()
    assert other["days"][0]["models"][0]["seconds"]["generating"] == 3600
    for day, found in (("2026-11-19", 0), ("2026-11-20", 1), ("2026-11-21", 0)):
        one = await http.get("/usage", params={"from": day, "to": day}, headers=auth)
        assert len(one.json()["days"]) == found


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"from": "2026-11-01"},
        {"from": "2026-11-02", "to": "2026-11-01"},
        {"from": "2026-01-01", "to": "2026-04-03"},
        {"from": "2026-02-30", "to": "2026-03-01"},
        {"from": "1795132800", "to": "1795132800"},
        {"from": "20261101", "to": "20261102"},
        {"from": "0000-00-00", "to": "9999-99-99"},
        {"from": "yesterday", "to": "today"},
    ],
)
async def test_a_range_that_is_none_is_400(http: httpx.AsyncClient, auth: dict[str, str], params: Any) -> None:
    answer = await http.get("/usage", params=params, headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_the_longest_range(http: httpx.AsyncClient, auth: dict[str, str]) -> None:
    for first, last in ((date(2026, 1, 1), date(2026, 4, 2)), (date(1, 1, 1), date(1, 1, 1)), (date.max, date.max)):
        answer = await http.get("/usage", params={"from": first, "to": last}, headers=auth)
        assert (answer.status_code, answer.json()["days"]) == (200, [])


async def test_it_is_for_tokens_of_the_whole_account(
    http: httpx.AsyncClient, mint: Any, session_id: str, api_key: str
) -> None:
    everything = {"models": {"all": True}}
    details = [
        ({"resources": everything, "role": "viewer"}, "forbidden_role"),
        ({"resources": everything | {"sessions": {"bind": [session_id]}}}, "insufficient_scope"),
        ({"resources": {"models": {"match": ["echo"]}}}, "insufficient_scope"),
    ]
    for detail, code in details:
        headers = await mint(authorization_details=[{"type": "session", **detail}])
        answer = await http.get("/usage", params=RANGE, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    for headers in ({}, {"Reactor-API-Key": api_key}):
        assert (await http.get("/usage", params=RANGE, headers=headers)).status_code == 401
