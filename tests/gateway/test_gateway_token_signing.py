"""Tokens under asymmetric keys: what others can verify, and how keys are changed without anybody noticing."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import Any

import httpx
import jwt
import pytest
from pydantic import SecretStr

from cluster.client import ClusterClient
from cluster.settings import Settings
from gateway.claims import issuer
from tests.support.auth import gateway, look, private_pem, public_pem, with_auth

pytestmark = pytest.mark.slow

OLD_SECRET, NEW_SECRET = "o" * 48, "n" * 48


async def _token(http: httpx.AsyncClient, api_key: str) -> str:
    answer = await http.post("/tokens", headers={"Reactor-API-Key": api_key})
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["jwt"]
    return token


async def _jwks(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_others_can_verify_a_token_with_the_published_keys(
    cluster: ClusterClient, settings: Settings, api_key: str, algorithm: str
) -> None:
    async with gateway(cluster, with_auth(settings, signing_key=private_pem(algorithm))) as http:
        token = await _token(http, api_key)
        header = jwt.get_unverified_header(token)
        (key,) = jwt.PyJWKSet.from_dict(await _jwks(http)).keys
        assert (key.key_id, key.public_key_use, key.algorithm_name) == (header["kid"], "sig", algorithm)
        claims = jwt.decode(token, key, algorithms=[algorithm], issuer=issuer(settings.cluster))
        assert claims["sub"].startswith("key_")
        assert (await look(http, token)).status_code == 404


@pytest.mark.parametrize(("algorithm", "public"), [("RS256", {"kty", "n", "e"}), ("ES256", {"kty", "crv", "x", "y"})])
async def test_only_the_public_half_is_published(
    cluster: ClusterClient, settings: Settings, algorithm: str, public: set[str]
) -> None:
    async with gateway(cluster, with_auth(settings, signing_key=private_pem(algorithm))) as http:
        (key,) = (await _jwks(http))["keys"]
    assert key.keys() == public | {"kid", "use", "alg"}
    members = json.dumps({name: key[name] for name in sorted(public)}, separators=(",", ":"))
    thumbprint = urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).decode().rstrip("=")
    assert key["kid"] == thumbprint, "RFC 7638"


async def test_a_secret_is_not_published(http: httpx.AsyncClient) -> None:
    assert await _jwks(http) == {"keys": []}


async def test_signing_keys_rotate(cluster: ClusterClient, settings: Settings, api_key: str) -> None:
    """Announce the next key, sign with it, keep the one before, forget it: no replica refuses another's tokens."""
    first, second = private_pem("RS256"), private_pem("ES256")
    steps = [
        with_auth(settings, signing_key=first),
        with_auth(settings, signing_key=first, verification_keys=[public_pem(second)]),
        with_auth(settings, signing_key=second, verification_keys=[public_pem(first)]),
        with_auth(settings, signing_key=second),
    ]
    tokens, published = [], []
    for step in steps:
        async with gateway(cluster, step) as http:
            tokens.append(await _token(http, api_key))
            published.append([key["kid"] for key in (await _jwks(http))["keys"]])
    (a,), (b,) = published[0], published[3]
    assert published == [[a], [a, b], [b, a], [b]]
    for number, step in enumerate(steps):
        async with gateway(cluster, step) as http:
            for other in {number - 1, number, number + 1} & {0, 1, 2, 3}:
                assert (await look(http, tokens[other])).status_code == 404, (number, other)
    async with gateway(cluster, steps[3]) as http:
        answer = await look(http, tokens[0])
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_secrets_rotate(cluster: ClusterClient, settings: Settings, api_key: str) -> None:
    # the cluster of this test signs with a secret of its own making; each step is a gateway with a given one
    made = await cluster.jwt_secret()
    async with gateway(cluster, settings) as http:
        token = await _token(http, api_key)
    key = private_pem("ES256")
    async with gateway(cluster, with_auth(settings, signing_key=key, retired_secrets=[SecretStr(made)])) as http:
        assert (await look(http, token)).status_code == 404, "a retired secret verifies"
        assert jwt.get_unverified_header(await _token(http, api_key))["alg"] == "ES256", "and does not sign"
    async with gateway(cluster, with_auth(settings, signing_key=key)) as http:
        assert (await look(http, token)).status_code == 401, "with a signing key, no secret is taken unasked"
    async with gateway(cluster, with_auth(settings, retired_secrets=[OLD_SECRET, NEW_SECRET])) as http:
        claims = jwt.decode(token, options={"verify_signature": False})
        for secret in (OLD_SECRET, NEW_SECRET, made):
            assert (await look(http, jwt.encode(claims, secret, "HS256"))).status_code == 404
        assert (await look(http, jwt.encode(claims, "x" * 48, "HS256"))).status_code == 401


async def test_tokens_refresh_across_a_change_of_keys(
    cluster: ClusterClient, settings: Settings, api_key: str, session_id: str
) -> None:
    """Sessions are the account's: a token under the next key operates what one under the last key opened."""
    async with gateway(cluster, with_auth(settings, signing_key=private_pem("ES256"))) as http:
        headers = {"Authorization": f"Bearer {await _token(http, api_key)}"}
        assert (await http.get(f"/sessions/{session_id}", headers=headers)).status_code == 200
