"""The viewer's role over HTTP: how a token gets it, what it opens, and that nothing raises it."""

from __future__ import annotations

import time
from typing import Any

import httpx
import jwt
import pytest

from cluster.client import ClusterClient
from gateway.claims import issuer
from tests.gateway.conftest import Headers, Mint
from tests.support.local import LocalCluster

pytestmark = pytest.mark.fast

ALL: dict[str, Any] = {"models": {"all": True}}
NOWHERE = "00000000-0000-4000-8000-000000000000"


def detail(resources: dict[str, Any] = ALL, **more: Any) -> dict[str, Any]:
    return {"type": "session", "resources": resources, **more}


def bound(session_id: str, **more: Any) -> dict[str, Any]:
    return detail(ALL | {"sessions": {"bind": [session_id]}}, **more)


@pytest.fixture
async def viewer(mint: Mint, session_id: str) -> Headers:
    """What a watch link carries."""
    return await mint(authorization_details=[bound(session_id, role="viewer")])


def claims_of(headers: Headers) -> dict[str, Any]:
    token = headers["Authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def test_a_role_is_in_the_claims_where_it_is_not_the_directors(mint: Mint, session_id: str) -> None:
    given = [bound(session_id, role="viewer"), detail(), detail(role="director")]
    claims = claims_of(await mint(authorization_details=given))
    assert claims["authorization_details"] == [given[0], detail(), detail()]


@pytest.mark.parametrize(
    "body",
    [
        *[{"authorization_details": [detail(role=role)]} for role in ("owner", "VIEWER", "", None, 1, ["viewer"])],
        {"role": "viewer"},
        {"role": "viewer", "authorization_details": [detail()]},
    ],
)
async def test_a_role_that_is_none_or_out_of_place_mints_nothing(
    http: httpx.AsyncClient, api_key: str, body: dict[str, Any]
) -> None:
    answer = await http.post("/tokens", headers={"Reactor-API-Key": api_key}, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert "role" in answer.json()["detail"]


@pytest.mark.parametrize("wide", [False, True], ids=["of one session", "of the account"])
async def test_a_viewers_token_changes_nothing(
    http: httpx.AsyncClient, mint: Mint, auth: Headers, viewer: Headers, session_id: str, wide: bool
) -> None:
    headers = await mint(authorization_details=[detail(role="viewer", constraints={"max_sessions": 9})])
    headers = headers if wide else viewer
    session = f"/sessions/{session_id}"
    upload = {"name": "a.png", "size": 3, "mime_type": "image/png"}
    attempts: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", "/sessions", {"model": {"name": "echo"}}),
        ("PUT", session, None),
        ("DELETE", session, None),
        ("POST", f"{session}/uploads", upload),
        ("POST", f"{session}/snapshots", None),
        ("GET", f"/clips/events?session_id={session_id}&recording=1", None),
    ]
    account = [("GET", "/snapshots", None), ("DELETE", f"/snapshots/{NOWHERE}", None)]
    for method, path, body in attempts + (account if wide else []):
        refused = await http.request(method, path, headers=headers, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden_role"), (method, path, refused.text)
    assert len((await http.get("/snapshots", headers=auth)).json()) == 0
    assert (await http.get(session, headers=auth)).json()["state"] != "CLOSED"


async def test_a_viewers_token_sees_its_session(
    http: httpx.AsyncClient, auth: Headers, viewer: Headers, session_id: str, until_ready: Any
) -> None:
    await until_ready(viewer, session_id)
    session = f"/sessions/{session_id}"
    for path in (session, f"{session}/info", f"{session}/transport/webrtc/ice_servers"):
        assert (await http.get(path, headers=viewer)).status_code == 200
    assert (await http.post(f"{session}/transport/webrtc/connections", headers=viewer)).status_code == 201
    clip = await http.get(f"/clips?session_id={session_id}&recording=1&start=0&end=1", headers=viewer)
    assert (clip.status_code, clip.json()["code"]) == (410, "clip_gone"), "allowed, and there is none"


async def test_a_viewers_token_ends_where_its_session_does(
    http: httpx.AsyncClient, auth: Headers, viewer: Headers
) -> None:
    other = (await http.post("/sessions", headers=auth, json={"model": {"name": "echo"}})).json()["session_id"]
    for path in (f"/sessions/{other}", "/snapshots"):
        refused = await http.get(path, headers=viewer)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    await http.delete(f"/sessions/{other}", headers=auth)


async def test_no_change_of_a_viewers_token_raises_its_role(
    http: httpx.AsyncClient, cluster: ClusterClient, local: LocalCluster, viewer: Headers, session_id: str
) -> None:
    """Taken out, renamed, or with a good signature but no role there is: none of it directs."""
    claims = claims_of(viewer)
    (watching,) = claims["authorization_details"]
    without = {name: value for name, value in watching.items() if name != "role"}
    forged = [
        (changed, secret)
        for changed in ([without], [watching | {"role": "director"}], [watching, without], None)
        for secret in ("x" * 40, None)
    ]
    for details, secret in forged:
        changed = {name: value for name, value in claims.items() if name != "authorization_details"}
        changed |= {"authorization_details": details} if details else {}
        token = jwt.encode(changed, secret, algorithm="HS256" if secret else "none")
        answer = await http.delete(f"/sessions/{session_id}", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    now = int(time.time())
    base = {"iss": issuer(local.settings.cluster), "sub": claims["sub"], "iat": now, "exp": now + 60, "jti": "x"}
    for role in ("owner", "Director", None, 7, ["director"]):
        unknown = base | {"authorization_details": [watching | {"role": role}]}
        token = jwt.encode(unknown, await cluster.jwt_secret(), algorithm="HS256")
        answer = await http.delete(f"/sessions/{session_id}", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
