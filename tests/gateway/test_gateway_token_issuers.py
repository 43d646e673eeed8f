"""Tokens of other issuers, whose keys come from a JWKS URL: a real server, asked as seldom as can be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jwt
import pytest

from cluster.client import ClusterClient
from cluster.errors import Unavailable
from cluster.settings import IssuerSettings, Settings
from gateway.authority import Authority
from gateway.errors import InvalidToken
from gateway.issuers import COOLDOWN_S, MAX_JWKS_BYTES, STALE_S
from tests.support.auth import by_hand, gateway, good_claims, look, private_pem, public_key, public_pem, with_auth
from tests.support.jwks import JwksServer
from tests.support.local import LocalCluster

pytestmark = pytest.mark.slow

ALPHA, BETA, AUDIENCE = "https://alpha.test/", "https://beta.test/", "https://cluster.test"
TTL_S = 300


def _jwk(algorithm: str, name: str, **changes: Any) -> dict[str, Any]:
    kind = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}[algorithm]
    jwk: dict[str, Any] = kind.to_jwk(public_key(private_pem(algorithm, name)), as_dict=True)
    jwk.pop("key_ops", None)
    return jwk | {"kid": name, "use": "sig", "alg": algorithm} | changes


def _token(issuer: str, subject: str, name: str, algorithm: str = "ES256", **claims: Any) -> str:
    payload = good_claims(issuer, subject, aud=AUDIENCE) | claims
    return jwt.encode(payload, private_pem(algorithm, name), algorithm, headers={"kid": name})


@pytest.fixture
def alpha() -> Iterator[JwksServer]:
    with JwksServer([_jwk("RS256", "alpha-rsa"), _jwk("ES256", "alpha")]) as server:
        yield server


@pytest.fixture
def beta() -> Iterator[JwksServer]:
    with JwksServer([_jwk("ES256", "beta")]) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, alpha: JwksServer, beta: JwksServer) -> Settings:
    issuers = [
        IssuerSettings(issuer=name, jwks_url=server.url, audience=AUDIENCE, priority=priority)
        for name, server, priority in ((ALPHA, alpha, "low"), (BETA, beta, "normal"))
    ]
    return with_auth(settings, issuers=issuers, jwks_ttl_s=TTL_S)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def authority(settings: Settings, cluster: ClusterClient, clock: Clock) -> Authority:
    assert all((await cluster.ready()).checks.values())
    return Authority(settings, cluster.jwt_secret, clock)


@pytest.fixture
async def door(cluster: ClusterClient, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway(cluster, settings) as http:
        yield http


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_subject_of_an_issuer_is_an_account(door: httpx.AsyncClient, alpha: JwksServer) -> None:
    rsa, ec = _token(ALPHA, "anna", "alpha-rsa", "RS256"), _token(ALPHA, "anna", "alpha")
    made = await door.post("/sessions", headers=_bearer(rsa), json={"model": {"name": "echo"}})
    assert made.status_code == 201, made.text
    path = f"/sessions/{made.json()['session_id']}"
    assert (await door.get(path, headers=_bearer(ec))).status_code == 200
    assert (await door.get(path, headers=_bearer(_token(ALPHA, "bert", "alpha")))).status_code == 404
    assert (await door.delete(path, headers=_bearer(ec))).status_code == 204
    assert alpha.asked == 1


async def test_an_issuers_class_is_that_of_its_subjects(
    door: httpx.AsyncClient, mint: Any, local: LocalCluster
) -> None:
    of_issuers = [_bearer(_token(name, "anna", kid)) for name, kid in ((ALPHA, "alpha"), (BETA, "beta"))]
    for headers in (*of_issuers, await mint()):
        assert (await door.post("/sessions", headers=headers, json={"model": {"name": "echo"}})).status_code == 201
    records = sorted([record async for record in local.store.all_open()], key=lambda record: record.created_at)
    assert [record.priority for record in records] == ["low", "normal", "normal"]


async def test_the_same_subject_of_two_issuers_is_two_accounts(door: httpx.AsyncClient, authority: Authority) -> None:
    of_alpha, of_beta = _token(ALPHA, "anna", "alpha"), _token(BETA, "anna", "beta")
    made = await door.post("/sessions", headers=_bearer(of_alpha), json={"model": {"name": "echo"}})
    path = f"/sessions/{made.json()['session_id']}"
    for call in (door.get, door.delete, door.put):
        answer = await call(path, headers=_bearer(of_beta))
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    tenants = {(await authority.verify(token)).tenant for token in (of_alpha, of_beta)}
    assert len(tenants) == 2
    assert (await door.delete(path, headers=_bearer(of_alpha))).status_code == 204


async def test_no_subject_is_ever_the_account_of_a_key(
    door: httpx.AsyncClient, cluster: ClusterClient, api_key: str, authority: Authority, session_id: str
) -> None:
    """An issuer may write any subject, the id of a key or another issuer's account among them."""
    key = await cluster.resolve_key(api_key)
    assert key is not None
    other = (await authority.verify(_token(BETA, "anna", "beta"))).tenant
    for subject in (key.key_id, other, f"{BETA}anna", "../" + key.key_id, "*"):
        token = _token(ALPHA, subject, "alpha")
        assert (await door.get(f"/sessions/{session_id}", headers=_bearer(token))).status_code == 404
        assert (await authority.verify(token)).tenant not in (key.key_id, other)


async def test_a_scope_of_another_issuer_holds(door: httpx.AsyncClient) -> None:
    details = [{"type": "session", "resources": {"models": {"match": ["longlive-v2"]}}}]
    token = _token(ALPHA, "anna", "alpha", authorization_details=details)
    answer = await door.post("/sessions", headers=_bearer(token), json={"model": {"name": "echo"}})
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    "token",
    [
        lambda: _token(ALPHA, "anna", "beta"),  # another issuer's key, which that issuer does publish
        lambda: _token(BETA, "anna", "alpha"),
        lambda: _token("https://gamma.test/", "anna", "alpha"),
        lambda: _token(ALPHA, "anna", "alpha", aud="https://other.test"),
        lambda: _token(ALPHA, "anna", "alpha", aud=[]),
        lambda: _token(ALPHA, "anna", "alpha", aud=None),
        lambda: _token(ALPHA, "", "alpha"),
        lambda: _token(ALPHA.rstrip("/"), "anna", "alpha"),
        lambda: _token(ALPHA, "anna", "never-published"),
        lambda: jwt.encode(good_claims(ALPHA, "anna", aud=AUDIENCE), private_pem("ES256", "alpha"), "ES256"),
        lambda: by_hand(
            {"alg": "HS256", "kid": "alpha"},
            good_claims(ALPHA, "anna", aud=AUDIENCE),
            public_pem(private_pem("ES256", "alpha")).encode(),
        ),
    ],
)
async def test_what_an_issuer_did_not_sign_for_us_is_refused(door: httpx.AsyncClient, token: Any) -> None:
    answer = await look(door, token())
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_an_issuer_cannot_speak_for_the_cluster(
    door: httpx.AsyncClient, cluster: ClusterClient, api_key: str
) -> None:
    minted = (await door.post("/tokens", headers={"Reactor-API-Key": api_key})).json()["jwt"]
    own = jwt.decode(minted, options={"verify_signature": False})
    forged = jwt.encode(own, private_pem("ES256", "alpha"), "ES256", headers={"kid": "alpha"})
    assert (await look(door, forged)).status_code == 401
    secret = await cluster.jwt_secret()
    as_alpha = jwt.encode(good_claims(ALPHA, "anna", aud=AUDIENCE), secret, "HS256", headers={"kid": "alpha"})
    assert (await look(door, as_alpha)).status_code == 401, "nor the cluster for an issuer"


async def test_a_long_lived_token_of_another_issuer_ends_after_six_hours(door: httpx.AsyncClient) -> None:
    now = good_claims(ALPHA, "anna")["iat"]
    answer = await look(door, _token(ALPHA, "anna", "alpha", iat=now - 21_601, exp=now + 10**6))
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


async def test_keys_are_fetched_once_for_everybody(authority: Authority, alpha: JwksServer) -> None:
    await asyncio.gather(*(authority.verify(_token(ALPHA, f"user {n}", "alpha")) for n in range(20)))
    assert alpha.asked == 1


async def test_a_key_that_the_issuer_adds_or_takes_back(authority: Authority, alpha: JwksServer, clock: Clock) -> None:
    await authority.verify(_token(ALPHA, "anna", "alpha"))
    alpha.keys = [_jwk("ES256", "next")]
    clock.now += COOLDOWN_S
    await authority.verify(_token(ALPHA, "anna", "next"))
    with pytest.raises(InvalidToken):
        await authority.verify(_token(ALPHA, "anna", "alpha"))
    alpha.keys = []
    clock.now += TTL_S
    with pytest.raises(InvalidToken):
        await authority.verify(_token(ALPHA, "anna", "next"))


async def test_unknown_key_ids_do_not_make_a_flood(authority: Authority, alpha: JwksServer, clock: Clock) -> None:
    await authority.verify(_token(ALPHA, "anna", "alpha"))
    for name in ("one", "two", "three"):
        for _ in range(10):
            with pytest.raises(InvalidToken):
                await authority.verify(_token(ALPHA, "anna", name))
        clock.now += COOLDOWN_S
    assert alpha.asked == 3


async def test_an_issuer_that_is_down_costs_nothing_for_a_while(
    authority: Authority, alpha: JwksServer, clock: Clock
) -> None:
    good = _token(ALPHA, "anna", "alpha")
    await authority.verify(good)
    alpha.status = 500
    clock.now += STALE_S
    await authority.verify(good)
    clock.now += COOLDOWN_S
    with pytest.raises(Unavailable):
        await authority.verify(good)
    alpha.status = 200
    clock.now += COOLDOWN_S
    await authority.verify(good)


@pytest.mark.parametrize(
    "raw",
    [b"", b"not json", b"[]", b"{}", b'{"keys": 1}', b"[" * 5000, b" " * (MAX_JWKS_BYTES + 1)],
)
async def test_an_answer_that_is_no_jwk_set_is_503(door: httpx.AsyncClient, alpha: JwksServer, raw: bytes) -> None:
    alpha.raw = raw
    answer = await look(door, _token(ALPHA, "anna", "alpha"))
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0


async def test_redirects_are_not_followed(door: httpx.AsyncClient, alpha: JwksServer, beta: JwksServer) -> None:
    alpha.status, alpha.location = 302, beta.url
    assert (await look(door, _token(ALPHA, "anna", "beta"))).status_code == 503
    assert beta.asked == 0


async def test_unfit_keys_of_a_set_are_passed_over(door: httpx.AsyncClient, alpha: JwksServer) -> None:
    secret = "s" * 43
    small = json.loads(json.dumps(_jwk("RS256", "small"))) | {"n": "AQAB" * 20}
    alpha.keys = [
        {"kty": "oct", "k": secret, "kid": "oct", "alg": "HS256"},
        {"kty": "oct", "k": secret, "kid": "oct-bare"},
        small,
        _jwk("ES256", "enc", use="enc"),
        _jwk("ES256", "lying", alg="HS256"),
        _jwk("ES256", "broken", x="AAAA"),
        _jwk("ES256", "nameless", kid=None),
        {},
        _jwk("ES256", "alpha"),
    ]
    assert (await look(door, _token(ALPHA, "anna", "alpha"))).status_code == 404
    for name in ("enc", "lying", "broken", "nameless"):
        assert (await look(door, _token(ALPHA, "anna", name))).status_code == 401
    for name in ("oct", "oct-bare"):
        forged = by_hand({"alg": "HS256", "kid": name}, good_claims(ALPHA, "a", aud=AUDIENCE), secret.encode())
        assert (await look(door, forged)).status_code == 401
    assert (await look(door, _token(ALPHA, "anna", "small", "RS256"))).status_code == 401
