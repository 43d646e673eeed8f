"""Every kind of bad input over HTTP at once against a live session: each is answered, and nothing is left of any."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import jwt
import pytest

from cluster.client import ClusterClient
from gateway.claims import issuer

pytestmark = pytest.mark.fast

NOBODY = "00000000-0000-0000-0000-000000000000"
COMING_AND_GOING = {"Event.wait", "Worker.watch", "Worker.ping"}


async def forged(cluster: ClusterClient, local, api_key: str, **change) -> dict[str, str]:
    """A token made with the cluster's own secret and changed claims, or with another secret or algorithm."""
    key = await cluster.resolve_key(api_key)
    now = int(time.time())
    claims = {"iss": issuer(local.settings.cluster), "sub": key.key_id, "iat": now, "exp": now + 60, "jti": "x"}
    secret = change.pop("secret", await cluster.jwt_secret())
    algorithm = change.pop("algorithm", "HS256")
    token = jwt.encode(claims | change, secret if algorithm != "none" else None, algorithm=algorithm)
    return {"Authorization": f"Bearer {token}"}


def tasks() -> Counter[str]:
    names = Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())
    return Counter({name: count for name, count in names.items() if name not in COMING_AND_GOING})


async def test_nothing_is_left_of_it(http, local, cluster, auth, mint, other_key, api_key, session_id, until_ready):
    await until_ready(auth, session_id)
    stranger = await mint(other_key)
    transport = f"/sessions/{session_id}/transport/webrtc"
    worker, session = local.worker_of(session_id), local.session(session_id)

    async def belongings() -> tuple[object, ...]:
        found = {key async for key in local.redis.scan_iter(f"{local.settings.cluster}:*")}
        keys = {key for key in found if b":usage" not in key}  # written every few seconds
        return keys, tasks(), set(session.connections.ids), list(worker._sessions), worker.status().pid

    before = await belongings()
    expired = await forged(cluster, local, api_key, exp=int(time.time()) - 10)
    none = await forged(cluster, local, api_key, algorithm="none")
    foreign = await forged(cluster, local, api_key, secret="x" * 40)
    elsewhere = await forged(cluster, local, api_key, iss="another cluster")
    model = {"model": {"name": "echo"}}
    big = b'{"model": "' + b"x" * local.settings.limits.max_body_bytes + b'"}'
    offer = {"sdp_offer": "v=0\r\nnonsense"}
    barrage = [
        ("POST", "/sessions", auth, {"content": b"{not json"}, 400),
        ("POST", "/sessions", auth, {"content": big}, 413),
        ("POST", "/sessions", auth, {"json": {"model": "echo"}}, 400),
        ("POST", "/sessions", auth, {"json": {"model": {"name": "nonesuch"}}}, 404),
        *[("POST", "/sessions", headers, {"json": model}, 401) for headers in (expired, none, foreign, elsewhere, {})],
        ("GET", f"/sessions/{session_id}", stranger, {}, 404),
        ("DELETE", f"/sessions/{session_id}", stranger, {}, 404),
        ("PUT", f"/sessions/{session_id}", stranger, {}, 404),
        ("PUT", f"/sessions/{session_id}", auth, {}, 409),
        ("GET", f"/sessions/{NOBODY}", auth, {}, 404),
        ("POST", f"{transport}/connections", stranger, {}, 404),
        ("GET", f"{transport}/connections/4242/sdp_params", auth, {}, 404),
        ("POST", f"{transport}/connections/77/sdp_params", auth, {"json": offer}, 404),
        ("POST", f"{transport}/connections/many/sdp_params", auth, {"json": offer}, 404),
        ("POST", f"{transport}/sdp_params", auth, {"content": b"[]"}, 422),
        ("GET", "/schema?model=nonesuch", auth, {}, 404),
        ("PATCH", "/sessions", auth, {}, 405),
        ("GET", "/nowhere", auth, {}, 404),
    ]
    for method, path, headers, body, status in barrage:
        answer = await http.request(method, path, headers=headers, **body)
        assert (answer.status_code, method, path) == (status, method, path), answer.text
        assert set(answer.json()) == {"detail", "code"}
    assert await belongings() == before

    # A connection that was reserved and got nonsense for an offer is still there for a good one.
    connection_id = (await http.post(f"{transport}/connections", headers=auth)).json()["connection_id"]
    refused = await http.post(f"{transport}/connections/{connection_id}/sdp_params", headers=auth, json=offer)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_offer")
    assert set(session.connections.ids) == {connection_id}
    assert (await http.delete(f"/sessions/{session_id}", headers=auth)).status_code == 204
    assert worker.status().sessions == ()
