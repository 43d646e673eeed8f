from __future__ import annotations

import base64
import hashlib
import hmac
import logging

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from cluster.client import ClusterClient
from cluster.settings import Settings, TurnSettings
from gateway.app import create_app
from gateway.ice import ice_servers, turn_credentials

pytestmark = pytest.mark.fast

SECRET = SecretStr("s3cret-of-thirty-two-bytes-or-so")
URIS = ("stun:stun.example:3478", "turn:turn.example:3478?transport=udp", "turns:turn.example:443")


def test_no_servers_is_an_empty_list() -> None:
    assert ice_servers(TurnSettings(), "key_1", 0) == []


def test_stun_needs_no_credentials_and_turn_gets_them() -> None:
    stun, turn = ice_servers(TurnSettings(uris=URIS, secret=SECRET, ttl_s=600), "key_1", 1000)
    assert (stun.uris, stun.credentials) == ([URIS[0]], None)
    assert turn.uris == list(URIS[1:])
    assert turn.credentials is not None
    assert turn.credentials.username == "1600:key_1"


def test_turn_without_a_secret_stops_start_up() -> None:
    with pytest.raises(ValidationError, match="needs the secret"):
        TurnSettings(uris=URIS)
    assert TurnSettings(uris=URIS[:1]).secret is None


@pytest.mark.parametrize(
    "uri",
    [
        "turn:turn.example",
        "turn:192.0.2.7:3478?transport=tcp",
        "turns:[2001:db8::7]:443?transport=tcp",
        "stuns:turn.example:5349",
    ],
)
def test_uris_are_passed_on_as_they_are(uri: str) -> None:
    (server,) = ice_servers(TurnSettings(uris=(uri,), secret=SECRET), "key_1", 0)
    assert server.uris == [uri]


@pytest.mark.parametrize(
    "uri",
    [
        "turn.example:3478",
        "turn://turn.example:3478",
        "https://turn.example",
        "turn:user@turn.example",
        "turn:turn.example?transport=sctp",
        "stun:turn.example?transport=udp",
        "turn:",
    ],
)
def test_a_uri_that_browsers_would_refuse_stops_start_up(uri: str) -> None:
    with pytest.raises(ValidationError, match="number 2"):
        TurnSettings(uris=(URIS[0], uri), secret=SECRET)


def test_a_secret_that_can_be_guessed_stops_start_up() -> None:
    with pytest.raises(ValidationError, match="shorter than 32 bytes"):
        TurnSettings(uris=URIS, secret=SecretStr("s3cret"))


def test_the_secret_is_not_in_what_stops_start_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLC_TURN__SECRET", SECRET.get_secret_value())
    monkeypatch.setenv("LLC_TURN__URIS", '["turn.example"]')
    with pytest.raises(ValidationError, match=r"turn\.uris") as refused:
        Settings()
    assert "s3cret" not in str(refused.value)


def test_the_password_is_what_a_turn_server_computes() -> None:
    credentials = turn_credentials("north", "user", 1_700_000_000)
    expected = hmac.new(b"north", b"1700000000:user", hashlib.sha1).digest()
    assert credentials.username == "1700000000:user"
    assert base64.b64decode(credentials.password) == expected


async def test_servers_are_given_before_a_worker_is_there(
    cluster: ClusterClient, settings: Settings, auth: dict[str, str], http: httpx.AsyncClient, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    turn = TurnSettings(uris=URIS, secret=SECRET)
    app = create_app(cluster, settings.model_copy(update={"turn": turn}))
    created = (await http.post("/sessions", headers=auth, json={"model": {"name": "echo"}})).json()
    gateway = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
    with capture_logs() as logged:
        async with gateway as client:
            answer = await client.get(f"/sessions/{created['session_id']}/transport/webrtc/ice_servers", headers=auth)
    assert answer.status_code == 200
    stun, relay = answer.json()["ice_servers"]
    assert stun == {"uris": [URIS[0]]}
    assert set(relay["credentials"]) == {"username", "password"}
    for shown in (answer.text, caplog.text, str(logged)):
        assert SECRET.get_secret_value() not in shown
    for shown in (caplog.text, str(logged)):
        assert relay["credentials"]["password"] not in shown
    await http.delete(f"/sessions/{created['session_id']}", headers=auth)
