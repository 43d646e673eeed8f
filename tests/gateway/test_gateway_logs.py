from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from cluster.client import ClusterClient

pytestmark = pytest.mark.fast

PROMPT = "a red dune at dawn"


def _of_gateway(entries: list[Any]) -> list[Any]:
    return [entry for entry in entries if "route" in entry]


async def test_lines_have_ids_and_no_secrets(
    http: httpx.AsyncClient, cluster: ClusterClient, api_key: str, session_id: str
) -> None:
    key = await cluster.resolve_key(api_key)
    assert key is not None
    with capture_logs() as entries:
        minted = (await http.post("/tokens", headers={"Reactor-API-Key": api_key})).json()["jwt"]
        headers = {"Authorization": f"Bearer {minted}"}
        path = f"/sessions/{session_id}/transport/webrtc/connections/1002/sdp_params"
        await http.put(path, headers=headers, json={"sdp_offer": PROMPT}, params={"token": minted})
        await http.post("/sessions", headers=headers, json={"model": {"name": PROMPT}})
    tokens, offer, create = _of_gateway(entries)
    assert tokens["tenant"] == offer["tenant"] == create["tenant"] == key.key_id
    assert (offer["session_id"], offer["connection_id"]) == (session_id, "1002")
    assert offer["method"] == "PUT"
    assert create["status"] == 404
    for secret in (api_key, minted, PROMPT):
        assert secret not in str(_of_gateway(entries))


async def test_an_unknown_failure_is_logged_without_its_words(http: httpx.AsyncClient, app: FastAPI) -> None:
    async def route() -> None:
        raise RuntimeError(PROMPT)

    app.add_api_route("/raises", route)
    with capture_logs() as entries:
        await http.get("/raises")
    (failed,) = (entry for entry in entries if entry["event"] == "request_failed")
    assert failed["error"] == "RuntimeError"
    assert "test_gateway_logs.py" in failed["stack"]
    assert PROMPT not in str(failed["error"])


async def test_probes_are_quiet(http: httpx.AsyncClient) -> None:
    with capture_logs() as entries:
        for path in ("/health", "/ready"):
            await http.get(path)
    assert {entry["log_level"] for entry in _of_gateway(entries)} == {"debug"}
