from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.local import LocalCluster
from tests.support.planting import plant

pytestmark = pytest.mark.fast


async def test_a_moment_is_saved_listed_started_from_and_forgotten(
    http: httpx.AsyncClient, auth: dict[str, str], session_id: str, local: LocalCluster, settings: Any
) -> None:
    path = f"/sessions/{session_id}/snapshots"
    answer = await http.post(path, headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), "nothing has happened yet"
    async for record in local.store.all_open():
        await plant(local.store, record.tenant, record.session_id)
    saved = (await http.post(path, headers=auth, json={"name": "a moment"})).json()
    assert (await http.get("/snapshots", headers=auth)).json() == [saved]
    assert saved["events"]
    log = await http.get(f"/snapshots/{saved['snapshot_id']}/events", headers=auth)
    assert log.headers["content-type"].startswith("application/jsonl")
    assert log.json()["kind"] == "opened"
    started = await http.post(
        "/sessions", headers=auth, json={"model": {"name": "echo"}, "from_snapshot": saved["snapshot_id"]}
    )
    assert started.status_code == 201
    assert (await http.delete(f"/snapshots/{saved['snapshot_id']}", headers=auth)).status_code == 204
    assert (await http.get("/snapshots", headers=auth)).json() == []
    await http.delete(f"/sessions/{started.json()['session_id']}", headers=auth)


@pytest.mark.parametrize("body", [{"name": 7}, {"name": "n" * 201}, {"grant": "all"}, {"grant": [""]}, []])
async def test_a_body_of_the_wrong_shape_is_400(
    http: httpx.AsyncClient, auth: dict[str, str], session_id: str, body: object
) -> None:
    answer = await http.post(f"/sessions/{session_id}/snapshots", headers=auth, json=body)
    assert answer.status_code == 400


async def test_strangers_and_narrow_tokens(
    http: httpx.AsyncClient, auth: dict[str, str], session_id: str, mint: Any
) -> None:
    foreign = await mint("rk_other")
    assert (await http.post(f"/sessions/{session_id}/snapshots", headers=foreign)).status_code == 404
    unknown = {"model": {"name": "echo"}, "from_snapshot": "nothing"}
    assert (await http.post("/sessions", headers=auth, json=unknown)).status_code == 404
    assert (await http.delete("/snapshots/nothing", headers=auth)).status_code == 404
    assert (await http.get("/snapshots/nothing/events", headers=auth)).status_code == 404
    resources = {"models": {"all": True}, "sessions": {"bind": [session_id]}}
    narrow = await mint(authorization_details=[{"type": "session", "resources": resources}])
    assert (await http.get("/snapshots", headers=narrow)).status_code == 403
    assert (await http.get("/snapshots/nothing/events", headers=narrow)).status_code == 403
