from __future__ import annotations

import time

import httpx
import jwt
import pytest

from cluster.client import ClusterClient
from cluster.keys import KeyRing
from wire.http import TOKEN_LIFETIME_MAX_S

pytestmark = pytest.mark.fast

ECHO = {"type": "session", "resources": {"models": {"match": ["echo"]}}}


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({}, b""),
        ({"content-type": "application/octet-stream"}, b""),
        ({"content-type": "application/json"}, b"null"),
        ({"content-type": "application/json"}, b"{}"),
        ({"content-type": "application/json"}, b""),
        ({}, b"null"),
        ({}, b"{}"),
        ({"content-type": "application/json; charset=utf-8"}, b" null "),
        ({"content-type": "application/json"}, b'{"expires_after": null, "authorization_details": null, "new": 1}'),
    ],
)
async def test_every_empty_body_mints_a_token_of_the_account(
    http: httpx.AsyncClient, api_key: str, headers: dict[str, str], content: bytes
) -> None:
    answer = await http.post("/tokens", headers={"Reactor-API-Key": api_key, **headers}, content=content)
    assert answer.status_code == 200
    assert set(answer.json()) == {"jwt", "expires_at"}
    claims = jwt.decode(answer.json()["jwt"], options={"verify_signature": False})
    assert claims["exp"] == answer.json()["expires_at"]
    assert claims["exp"] - claims["iat"] == TOKEN_LIFETIME_MAX_S
    assert "authorization_details" not in claims


@pytest.mark.parametrize(("asked", "granted"), [(60, 60), (21_600, 21_600), (21_601, 21_600), (10**9, 21_600)])
async def test_a_lifetime_is_clamped_silently(http: httpx.AsyncClient, api_key: str, asked: int, granted: int) -> None:
    before = int(time.time())
    answer = await http.post("/tokens", headers={"Reactor-API-Key": api_key}, json={"expires_after": asked})
    assert answer.status_code == 200
    assert before + granted <= answer.json()["expires_at"] <= int(time.time()) + granted


async def test_claims_name_the_key_never_the_secret(
    http: httpx.AsyncClient, cluster: ClusterClient, api_key: str
) -> None:
    answer = await http.post("/tokens", headers={"Reactor-API-Key": api_key}, json={"authorization_details": [ECHO]})
    claims = jwt.decode(answer.json()["jwt"], options={"verify_signature": False})
    key = await cluster.resolve_key(api_key)
    assert key is not None
    assert claims["sub"] == key.key_id
    assert claims["authorization_details"] == [ECHO]
    assert {"iss", "iat", "exp", "jti"} <= claims.keys()
    assert api_key not in str(claims)


async def test_tokens_differ(http: httpx.AsyncClient, api_key: str) -> None:
    answers = [await http.post("/tokens", headers={"Reactor-API-Key": api_key}) for _ in range(2)]
    assert answers[0].json()["jwt"] != answers[1].json()["jwt"]


@pytest.mark.parametrize("headers", [{}, {"Reactor-API-Key": ""}, {"Reactor-API-Key": "rk_nobody"}])
async def test_a_missing_or_unknown_key_is_401(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await http.post("/tokens", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "invalid_api_key"
    assert "WWW-Authenticate" in answer.headers


async def test_a_revoked_key_buys_nothing(http: httpx.AsyncClient, keys: KeyRing) -> None:
    key, raw = await keys.create("short-lived")
    await keys.revoke(key.key_id)
    assert (await http.post("/tokens", headers={"Reactor-API-Key": raw})).status_code == 401


def _scope(**changes: object) -> dict[str, object]:
    return {"authorization_details": [{**ECHO, **changes}]}


@pytest.mark.parametrize(
    "body",
    [
        {"expires_after": 0},
        {"expires_after": -1},
        {"expires_after": "soon"},
        {"authorization_details": []},
        {"authorization_details": "all"},
        _scope(type="payment"),
        _scope(resources={}),
        _scope(resources={"models": {}}),
        _scope(resources={"models": {"match": []}}),
        _scope(resources={"models": {"all": False}}),
        _scope(resources={"models": {"match": ["echo"], "all": True}}),
        _scope(constraints={"max_session_duration_seconds": 0}),
        _scope(constraints={"max_session_duration_seconds": 86_401}),
        _scope(constraints={"max_sessions": -1}),
        _scope(resources={"models": {"match": ["m" * 100] * 200}}),
        _scope(resources={"models": {"all": True}, "sessions": {"bind": []}}),
        _scope(resources={"models": {"all": True}, "sessions": {}}),
        _scope(constraints={"max_sessions": "many"}),
        [],
        7,
    ],
)
async def test_a_request_without_a_meaning_is_400(http: httpx.AsyncClient, api_key: str, body: object) -> None:
    answer = await http.post("/tokens", headers={"Reactor-API-Key": api_key}, json=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"


async def test_bind_needs_open_sessions_of_the_account(
    http: httpx.AsyncClient, api_key: str, other_key: str, auth: dict[str, str], session_id: str
) -> None:
    def bound(*sessions: str) -> dict[str, object]:
        return _scope(resources={"models": {"all": True}, "sessions": {"bind": list(sessions)}})

    async def status(raw_key: str, body: object) -> int:
        return (await http.post("/tokens", headers={"Reactor-API-Key": raw_key}, json=body)).status_code

    assert await status(api_key, bound(session_id)) == 200
    assert await status(api_key, bound(session_id, "d0d5a4b2-0000-4000-8000-000000000000")) == 403
    assert await status(other_key, bound(session_id)) == 403
    await http.delete(f"/sessions/{session_id}", headers=auth)
    assert await status(api_key, bound(session_id)) == 403
