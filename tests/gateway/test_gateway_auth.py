from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import jwt
import pytest

from cluster.client import ClusterClient
from cluster.keys import KeyRing
from cluster.settings import Settings
from gateway.claims import issuer

pytestmark = pytest.mark.slow

UNKNOWN = "/sessions/d0d5a4b2-0000-4000-8000-000000000000"
CALLS = [
    ("POST", "/sessions"),
    ("GET", UNKNOWN),
    ("GET", f"{UNKNOWN}/info"),
    ("PUT", UNKNOWN),
    ("DELETE", UNKNOWN),
    ("GET", f"{UNKNOWN}/transport/webrtc/ice_servers"),
    ("POST", f"{UNKNOWN}/transport/webrtc/connections"),
    ("POST", f"{UNKNOWN}/transport/webrtc/connections/1002/sdp_params"),
    ("PUT", f"{UNKNOWN}/transport/webrtc/connections/1002/sdp_params"),
    ("GET", f"{UNKNOWN}/transport/webrtc/connections/1002/sdp_params"),
    ("POST", f"{UNKNOWN}/transport/webrtc/connections/1002/ice_candidates"),
    ("POST", f"{UNKNOWN}/transport/webrtc/sdp_params"),
    ("PUT", f"{UNKNOWN}/transport/webrtc/sdp_params"),
    ("GET", f"{UNKNOWN}/transport/webrtc/sdp_params"),
]
BODIES: dict[str, object] = {
    "/sessions": {"model": {"name": "echo"}},
    "sdp_params": {"sdp_offer": "v=0\r\n"},
    "ice_candidates": {"candidates": [], "is_final": True},
}


def _body(path: str) -> object:
    return BODIES.get(path, BODIES.get(path.rpartition("/")[2], {}))


async def _call(http: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    body = None if method == "GET" else _body(path)
    return await http.request(method, path, headers=headers, json=body)


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_every_call_needs_a_token(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await _call(http, method, path, {})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), CALLS[1:])
async def test_an_unknown_session_is_404_on_every_call(
    http: httpx.AsyncClient, auth: dict[str, str], method: str, path: str
) -> None:
    answer = await _call(http, method, path, auth)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize(("method", "path"), CALLS[1:])
async def test_a_foreign_session_is_not_told_from_an_unknown_one(
    http: httpx.AsyncClient, auth: dict[str, str], mint: Any, other_key: str, session_id: str, method: str, path: str
) -> None:
    path = path.replace(UNKNOWN, f"/sessions/{session_id}")
    answer = await _call(http, method, path, await mint(other_key))
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    own = await http.get(f"/sessions/{session_id}", headers=auth)
    assert own.status_code == 200
    assert own.json()["state"] != "CLOSED"


@pytest.fixture
async def claims(cluster: ClusterClient, settings: Settings, api_key: str) -> dict[str, Any]:
    """Claims that would be good if they were signed."""
    key = await cluster.resolve_key(api_key)
    assert key is not None
    now = int(time.time())
    return {"iss": issuer(settings.cluster), "sub": key.key_id, "iat": now, "exp": now + 60, "jti": "1"}


async def _look(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.get(UNKNOWN, headers={"Authorization": f"Bearer {token}"})


async def test_the_claims_are_good_when_signed(
    http: httpx.AsyncClient, cluster: ClusterClient, claims: dict[str, Any]
) -> None:
    token = jwt.encode(claims, await cluster.jwt_secret(), algorithm="HS256")
    assert (await _look(http, token)).status_code == 404


@pytest.mark.parametrize("missing", ["exp", "sub", "iss", "iat"])
async def test_every_claim_is_needed(
    http: httpx.AsyncClient, cluster: ClusterClient, claims: dict[str, Any], missing: str
) -> None:
    del claims[missing]
    answer = await _look(http, jwt.encode(claims, await cluster.jwt_secret(), algorithm="HS256"))
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "someone-else"},
        {"sub": "key_of_nobody"},
        {"authorization_details": "everything"},
        {"authorization_details": [{"type": "session", "resources": {"models": 1}}]},
        {"exp": "soon"},
    ],
)
async def test_foreign_or_garbled_claims_are_401(
    http: httpx.AsyncClient, cluster: ClusterClient, claims: dict[str, Any], change: dict[str, Any]
) -> None:
    answer = await _look(http, jwt.encode(claims | change, await cluster.jwt_secret(), algorithm="HS256"))
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert "invalid_token" in answer.headers["WWW-Authenticate"]


async def test_an_expired_token_has_its_own_code(
    http: httpx.AsyncClient, cluster: ClusterClient, claims: dict[str, Any]
) -> None:
    token = jwt.encode(claims | {"exp": int(time.time()) - 1}, await cluster.jwt_secret(), algorithm="HS256")
    answer = await _look(http, token)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


async def test_alg_none_is_refused(http: httpx.AsyncClient, claims: dict[str, Any]) -> None:
    assert (await _look(http, jwt.encode(claims, None, algorithm="none"))).status_code == 401


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_the_header_does_not_choose_the_algorithm(
    http: httpx.AsyncClient, cluster: ClusterClient, claims: dict[str, Any], algorithm: str
) -> None:
    token = jwt.encode(claims, (await cluster.jwt_secret()) + "=" * 64, algorithm=algorithm)
    assert (await _look(http, token)).status_code == 401


async def test_another_secret_is_refused(http: httpx.AsyncClient, claims: dict[str, Any]) -> None:
    assert (await _look(http, jwt.encode(claims, "s" * 48, algorithm="HS256"))).status_code == 401


async def test_changed_claims_are_refused(http: httpx.AsyncClient, auth: dict[str, str]) -> None:
    header, payload, signature = auth["Authorization"].removeprefix("Bearer ").split(".")
    changed = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"sub": "key_of_another"}
    forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    assert (await _look(http, f"{header}.{forged}.{signature}")).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "....", "local", "é.é.é"])
async def test_garbage_is_401(http: httpx.AsyncClient, token: str) -> None:
    answer = await http.get(UNKNOWN, headers=[(b"Authorization", f"Bearer {token}".encode())])
    assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["Basic dXNlcjpwYXNz", "Bearer", ""])
async def test_another_scheme_is_401(http: httpx.AsyncClient, scheme: str) -> None:
    assert (await http.get(UNKNOWN, headers={"Authorization": scheme})).status_code == 401


async def test_a_token_dies_with_its_key(http: httpx.AsyncClient, keys: KeyRing, mint: Any) -> None:
    key, raw = await keys.create("short-lived")
    headers = await mint(raw)
    assert (await http.get(UNKNOWN, headers=headers)).status_code == 404
    await keys.revoke(key.key_id)
    answer = await http.get(UNKNOWN, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_another_token_of_the_account_may_go_on(http: httpx.AsyncClient, mint: Any, session_id: str) -> None:
    assert (await http.get(f"/sessions/{session_id}", headers=await mint())).status_code == 200
