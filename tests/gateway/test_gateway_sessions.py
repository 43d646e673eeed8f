from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from cluster.settings import Settings

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("name", ["echo", "owner/echo"])
async def test_a_session_lives_and_closes(
    http: httpx.AsyncClient, auth: dict[str, str], settings: Settings, until_ready: Any, name: str
) -> None:
    created = await http.post("/sessions", headers=auth, json={"model": {"name": name}})
    assert created.status_code == 201
    body = created.json()
    uuid.UUID(body["session_id"])
    assert body["cluster"] == settings.cluster
    assert body["model"]["name"] == "echo"
    assert body["server_info"]["server_version"]
    assert None not in body.values(), "a strict client takes null for a wrong type"
    path = f"/sessions/{body['session_id']}"

    ready = await until_ready(auth, body["session_id"])
    assert ready["selected_transport"] == {"protocol": "webrtc", "version": "1.0"}
    assert {track["name"] for track in ready["capabilities"]["tracks"]} >= {"main_video"}
    assert (await http.get(f"{path}/info", headers=auth)).json() == ready

    assert (await http.put(path, headers=auth)).status_code == 409
    deleted = await http.request("DELETE", path, headers=auth, json={"reason": "done " * 100})
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await http.delete(path, headers=auth)).status_code == 204, "closing again is no error"
    assert (await http.get(path, headers=auth)).json()["state"] == "CLOSED"
    assert (await http.put(path, headers=auth)).json()["code"] == "conflict"


async def test_an_unknown_model_is_404(http: httpx.AsyncClient, auth: dict[str, str]) -> None:
    answer = await http.post("/sessions", headers=auth, json={"model": {"name": "no-such-model"}})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"model": "echo"},
        {"model": {}},
        {"model": {"name": ""}},
        {"model": {"name": "m" * 129}},
        {"model": {"name": 7}},
    ],
)
async def test_a_body_of_the_wrong_shape_is_400(http: httpx.AsyncClient, auth: dict[str, str], body: object) -> None:
    answer = await http.post("/sessions", headers=auth, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_what_newer_clients_add_is_ignored(http: httpx.AsyncClient, auth: dict[str, str]) -> None:
    body = {"model": {"name": "echo", "flavour": 1}, "extra_args": {"a": [1]}, "extra_configs": None, "tomorrow": {}}
    answer = await http.post("/sessions", headers=auth, json=body)
    assert answer.status_code == 201
    await http.delete(f"/sessions/{answer.json()['session_id']}", headers=auth)
