from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.fast

API = "Reactor-API-Version"
ACCEPT = "Reactor-API-Accept-Version"
WEBRTC = "Reactor-WebRTC-Version"


async def _look(
    http: httpx.AsyncClient, auth: dict[str, str], session_id: str, headers: dict[str, str]
) -> httpx.Response:
    return await http.get(f"/sessions/{session_id}/transport/webrtc/ice_servers", headers=auth | headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {API: "1", ACCEPT: "1"},
        {API: "1", ACCEPT: "1", WEBRTC: "1.0"},
        {WEBRTC: "1.0"},
        {WEBRTC: "1.7"},
        {API: "2", ACCEPT: "1"},
        {API: "1.3.0"},
        {ACCEPT: "0"},
    ],
)
async def test_versions_that_meet(
    http: httpx.AsyncClient, auth: dict[str, str], session_id: str, headers: dict[str, str]
) -> None:
    answer = await _look(http, auth, session_id, headers)
    assert answer.status_code == 200
    assert answer.headers[API] == "1"
    assert answer.headers[WEBRTC] == "1.0"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({API: "0"}, 426, "client_version_too_old"),
        ({API: "0.9", ACCEPT: "1"}, 426, "client_version_too_old"),
        ({WEBRTC: "0.4"}, 426, "client_version_too_old"),
        ({API: "2", ACCEPT: "2"}, 501, "server_version_too_old"),
        ({WEBRTC: "2.0"}, 501, "server_version_too_old"),
        ({API: "one"}, 400, "invalid_request"),
        ({ACCEPT: ""}, 400, "invalid_request"),
        ({API: "-1"}, 400, "invalid_request"),
        ({API: "9" * 400}, 400, "invalid_request"),
        ({WEBRTC: "1.x"}, 400, "invalid_request"),
    ],
)
async def test_versions_that_do_not_meet(
    http: httpx.AsyncClient,
    auth: dict[str, str],
    session_id: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    coordinator = await http.get(f"/sessions/{session_id}", headers=auth | headers)
    assert (coordinator.status_code, coordinator.json()["code"]) == (status, code)
    assert coordinator.headers[API] == "1"
    signalling = await _look(http, auth, session_id, headers)
    assert (signalling.status_code, signalling.json()["code"]) == (422 if status == 400 else status, code)


async def test_errors_say_the_versions_too(http: httpx.AsyncClient) -> None:
    assert (await http.get("/nowhere")).headers[API] == "1"


async def test_a_refused_version_opens_no_session(http: httpx.AsyncClient, auth: dict[str, str], mint: Any) -> None:
    body = {"model": {"name": "echo"}}
    assert (await http.post("/sessions", headers=auth | {API: "0"}, json=body)).status_code == 426
    one = [{"type": "session", "resources": {"models": {"all": True}}, "constraints": {"max_sessions": 1}}]
    created = await http.post("/sessions", headers=await mint(authorization_details=one), json=body)
    assert created.status_code == 201, "the refused call left nothing behind"
    await http.delete(f"/sessions/{created.json()['session_id']}", headers=auth)
