from __future__ import annotations

import base64
import hashlib
import hmac

import httpx
import pytest
from pydantic import SecretStr

from cluster.client import ClusterClient
from cluster.settings import Settings, TurnSettings
from gateway.app import create_app
from gateway.ice import ice_servers, turn_credentials

pytestmark = pytest.mark.fast

URIS = ("stun:stun.example:3478", "turn:turn.example:3478?transport=udp", "turns:turn.example:443")


def test_no_servers_is_an_empty_list() -> None:
    assert ice_servers(TurnSettings(), "key_1", 0) == []


def test_stun_needs_no_credentials_and_turn_gets_them() -> None:
    stun, turn = ice_servers(TurnSettings(uris=URIS, secret=SecretStr("s3cret"), ttl_s=600), "key_1", 1000)
    assert (stun.uris, stun.credentials) == ([URIS[0]], None)
    assert turn.uris == list(URIS[1:])
    assert turn.credentials is not None
    assert turn.credentials.username == "1600:key_1"


def test_turn_without_a_secret_is_given_as_it_is() -> None:
    (turn,) = ice_servers(TurnSettings(uris=URIS[1:]), "key_1", 0)
    assert turn.credentials is None


def test_the_password_is_what_a_turn_server_computes() -> None:
    credentials = turn_credentials("north", "user", 1_700_000_000)
    expected = hmac.new(b"north", b"1700000000:user", hashlib.sha1).digest()
    assert credentials.username == "1700000000:user"
    assert base64.b64decode(credentials.password) == expected


async def test_servers_are_given_before_a_worker_is_there(
    cluster: ClusterClient, settings: Settings, auth: dict[str, str], http: httpx.AsyncClient
) -> None:
    turn = TurnSettings(uris=URIS, secret=SecretStr("s3cret"))
    app = create_app(cluster, settings.model_copy(update={"turn": turn}))
    created = (await http.post("/sessions", headers=auth, json={"model": {"name": "echo"}})).json()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.get(f"/sessions/{created['session_id']}/transport/webrtc/ice_servers", headers=auth)
    assert answer.status_code == 200
    stun, relay = answer.json()["ice_servers"]
    assert stun == {"uris": [URIS[0]]}
    assert set(relay["credentials"]) == {"username", "password"}
    assert "s3cret" not in answer.text
    await http.delete(f"/sessions/{created['session_id']}", headers=auth)
