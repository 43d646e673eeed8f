from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.client import ClusterClient
from cluster.settings import Settings
from gateway.app import create_app
from wire.http import FLAT_CONNECTION_ID

pytestmark = pytest.mark.media

CAPTURED = Path(__file__).parent / "captured"


def _captured_offer(client: str) -> dict[str, Any]:
    lines = (CAPTURED / f"{client}.jsonl").read_text().splitlines()
    exchanges = [json.loads(line) for line in lines]
    (offer,) = (e["b"] for e in exchanges if e["p"].endswith("/sdp_params") and e["b"])
    body: dict[str, Any] = json.loads(offer)
    return body


OFFER = _captured_offer("jshead_chromium")
BATCH = {
    "candidates": [
        {
            "candidate": "candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host generation 0 ufrag x",
            "sdp_mid": "0",
            "sdp_mline_index": 0,
        }
    ],
    "is_final": False,
    "client_info": {"sdk_version": "1.13.0", "sdk_type": "python"},
}


@pytest.fixture
async def transport(auth: dict[str, str], session_id: str, until_ready: Any) -> str:
    """The signalling path of a session that a worker holds."""
    await until_ready(auth, session_id)
    return f"/sessions/{session_id}/transport/webrtc"


async def _connect(http: httpx.AsyncClient, auth: dict[str, str], transport: str) -> str:
    answer = await http.post(f"{transport}/connections", headers=auth)
    assert answer.status_code == 201
    assert 1001 < answer.json()["connection_id"] <= 9999
    return f"{transport}/connections/{answer.json()['connection_id']}"


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
async def test_a_connection_needs_no_body(
    http: httpx.AsyncClient, auth: dict[str, str], transport: str, body: bytes
) -> None:
    headers = auth | ({"Content-Type": "application/json"} if body else {})
    assert (await http.post(f"{transport}/connections", headers=headers, content=body)).status_code == 201


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_offer_is_answered(http: httpx.AsyncClient, auth: dict[str, str], transport: str, method: str) -> None:
    """`PUT` on an id that was never offered is how a client comes back after it lost its peer."""
    connection = await _connect(http, auth, transport)
    accepted = await http.request(method, f"{connection}/sdp_params", headers=auth, json=OFFER)
    assert accepted.status_code == 202
    assert accepted.json() == {"connection_id": int(connection.rpartition("/")[2])}
    answer = await http.get(f"{connection}/sdp_params", headers=auth)
    assert answer.status_code == 200
    assert answer.json()["sdp_answer"].startswith("v=0")
    assert answer.json()["connection_id"] == accepted.json()["connection_id"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_the_flat_path_is_connection_1001(
    http: httpx.AsyncClient, auth: dict[str, str], transport: str, method: str
) -> None:
    accepted = await http.request(method, f"{transport}/sdp_params", headers=auth, json=_captured_offer("js290"))
    assert (accepted.status_code, accepted.json()) == (202, {"connection_id": FLAT_CONNECTION_ID})
    answer = await http.get(f"{transport}/sdp_params", headers=auth)
    assert (answer.status_code, answer.json()["connection_id"]) == (200, FLAT_CONNECTION_ID)


async def test_candidates_may_come_before_the_offer_and_end_empty(
    http: httpx.AsyncClient, auth: dict[str, str], transport: str
) -> None:
    connection = await _connect(http, auth, transport)
    final = BATCH | {"candidates": [], "is_final": True}
    assert (await http.post(f"{connection}/ice_candidates", headers=auth, json=BATCH)).status_code == 202
    assert (await http.post(f"{connection}/sdp_params", headers=auth, json=OFFER)).status_code == 202
    for batch in (BATCH, final):
        assert (await http.post(f"{connection}/ice_candidates", headers=auth, json=batch)).status_code == 202


async def test_a_poll_without_an_answer_ends_with_202(
    cluster: ClusterClient, settings: Settings, auth: dict[str, str], http: httpx.AsyncClient, transport: str
) -> None:
    connection = await _connect(http, auth, transport)
    impatient = settings.model_copy(update={"limits": settings.limits.model_copy(update={"sdp_answer_wait_s": 0.01})})
    app = create_app(cluster, impatient)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.get(f"{connection}/sdp_params", headers=auth)
    assert answer.status_code == 202
    assert "sdp_answer" not in answer.json()


async def test_a_poll_is_held_until_the_answer_is_there(
    http: httpx.AsyncClient, auth: dict[str, str], transport: str
) -> None:
    connection = await _connect(http, auth, transport)
    poll = asyncio.create_task(http.get(f"{connection}/sdp_params", headers=auth))
    await asyncio.sleep(0)  # let it be asked first
    assert (await http.post(f"{connection}/sdp_params", headers=auth, json=OFFER)).status_code == 202
    assert (await poll).status_code == 200


@pytest.mark.parametrize(
    "sdp", ["hello", "v=0", "v=0\r\n", "v=0\r\no=- 1 2 IN IP4 0\r\nm=video\r\n", "\x00" * 50, "m=" * 9000]
)
async def test_garbage_is_an_invalid_offer_and_the_connection_lives(
    http: httpx.AsyncClient, auth: dict[str, str], transport: str, sdp: str
) -> None:
    connection = await _connect(http, auth, transport)
    refused = await http.post(f"{connection}/sdp_params", headers=auth, json=OFFER | {"sdp_offer": sdp})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_offer")
    assert (await http.post(f"{connection}/sdp_params", headers=auth, json=OFFER)).status_code == 202
    assert (await http.get(f"{connection}/sdp_params", headers=auth)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [None, {}, {"sdp_offer": ""}, {"sdp_offer": 7}, {"sdp_offer": "v=0", "track_mapping": [{"mid": 0}]}],
)
async def test_an_offer_of_the_wrong_shape_is_never_400(
    http: httpx.AsyncClient, auth: dict[str, str], transport: str, body: object
) -> None:
    connection = await _connect(http, auth, transport)
    answer = await http.post(f"{connection}/sdp_params", headers=auth, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("connection_id", ["1", "0", "-1", "10000", "99999999999999999999"])
@pytest.mark.parametrize(
    ("method", "resource", "body"),
    [("POST", "sdp_params", OFFER), ("PUT", "sdp_params", OFFER), ("POST", "ice_candidates", BATCH)],
)
async def test_an_id_that_cannot_be_one_is_404(
    http: httpx.AsyncClient,
    auth: dict[str, str],
    transport: str,
    connection_id: str,
    method: str,
    resource: str,
    body: object,
) -> None:
    answer = await http.request(method, f"{transport}/connections/{connection_id}/{resource}", headers=auth, json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_connection")


async def test_an_id_that_is_no_number_is_404(http: httpx.AsyncClient, auth: dict[str, str], transport: str) -> None:
    answer = await http.get(f"{transport}/connections/mine/sdp_params", headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "batch",
    [{}, {"candidates": "all"}, {"candidates": [{}]}, {"candidates": [{"candidate": None}]}],
)
async def test_candidates_of_the_wrong_shape(
    http: httpx.AsyncClient, auth: dict[str, str], transport: str, batch: object
) -> None:
    connection = await _connect(http, auth, transport)
    answer = await http.post(f"{connection}/ice_candidates", headers=auth, json=batch)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_closed_session_takes_no_offers(
    http: httpx.AsyncClient, auth: dict[str, str], session_id: str, transport: str
) -> None:
    connection = await _connect(http, auth, transport)
    await http.delete(f"/sessions/{session_id}", headers=auth)
    for path in (f"{connection}/sdp_params", f"{transport}/sdp_params"):
        answer = await http.post(path, headers=auth, json=OFFER)
        assert answer.status_code in {404, 409}, answer.text
    assert (await http.get(f"{transport}/ice_servers", headers=auth)).status_code == 200
