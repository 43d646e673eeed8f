"""What is kept with a key: its limits, and its account over a change of secret."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cluster.keys import KeyLimits, KeyRing
from cluster.settings import Settings
from cluster.store import Store
from tests.support.local import LocalCluster

pytestmark = pytest.mark.fast

ECHO = {"model": {"name": "echo"}}


async def _open(http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    return await http.post("/sessions", headers=headers, json=ECHO)


async def test_a_key_has_fewer_sessions_than_the_cluster_gives(
    http: httpx.AsyncClient, keys: KeyRing, mint: Any
) -> None:
    key, raw = await keys.create("small", KeyLimits(max_sessions=1))
    headers = await mint(raw)
    first = await _open(http, headers)
    assert first.status_code == 201
    refused = await _open(http, headers)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert int(refused.headers["Retry-After"]) > 0
    await keys.limit(key.key_id, KeyLimits(max_sessions=2))
    second = await _open(http, headers)
    assert second.status_code == 201, "a new limit holds at once, for tokens that are out too"
    for made in (first, second):
        await http.delete(f"/sessions/{made.json()['session_id']}", headers=headers)


async def test_a_key_that_may_open_none_may_still_mint(http: httpx.AsyncClient, keys: KeyRing, mint: Any) -> None:
    _, raw = await keys.create("closed", KeyLimits(max_sessions=0))
    assert (await _open(http, await mint(raw))).status_code == 429


@pytest.mark.parametrize(
    ("of_key", "of_token", "granted"), [(30, None, 30), (30, 20, 20), (30, 40, 30), (10**4, None, 1200)]
)
async def test_the_shortest_of_all_limits_holds(
    http: httpx.AsyncClient,
    keys: KeyRing,
    mint: Any,
    local: LocalCluster,
    of_key: int,
    of_token: int | None,
    granted: int,
) -> None:
    key, raw = await keys.create("short", KeyLimits(max_session_s=of_key))
    detail: dict[str, Any] = {"type": "session", "resources": {"models": {"all": True}}}
    if of_token:
        detail["constraints"] = {"max_session_duration_seconds": of_token}
    headers = await mint(raw, authorization_details=[detail])
    session_id = (await _open(http, headers)).json()["session_id"]
    record = await Store(local.redis, local.settings).get(key.key_id, session_id)
    assert record is not None
    assert record.max_duration_s == granted
    await http.delete(f"/sessions/{session_id}", headers=headers)


async def test_an_account_outlives_its_keys_secret(
    http: httpx.AsyncClient, keys: KeyRing, mint: Any, settings: Settings
) -> None:
    """Rotation touches no session and no token; only a new token needs a good secret."""
    key, old = await keys.create("rotating")
    before = await mint(old)
    path = f"/sessions/{(await _open(http, before)).json()['session_id']}"
    new = await keys.rotate(key.key_id, grace_s=60)
    for headers in (before, await mint(old), await mint(new)):
        assert (await http.get(path, headers=headers)).status_code == 200
    newest = await keys.rotate(key.key_id, grace_s=0)
    for gone in (old, new):
        answer = await http.post("/tokens", headers={"Reactor-API-Key": gone})
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")
    assert (await http.get(path, headers=before)).status_code == 200
    assert (await http.delete(path, headers=await mint(newest))).status_code == 204
