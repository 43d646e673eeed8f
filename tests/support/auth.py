"""Keys in PEM, tokens made by hand, and a gateway with other auth settings than the usual ones."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cluster.client import ClusterClient
from cluster.settings import AuthSettings, Settings
from gateway.app import create_app

UNKNOWN = "/sessions/d0d5a4b2-0000-4000-8000-000000000000"


@cache
def private_pem(algorithm: str, name: str = "first") -> str:
    """A private key; the same for the same arguments."""
    make = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    }
    key: Any = make[algorithm]()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_key(private: str) -> Any:
    return jwt.PyJWS().get_algorithm_by_name("RS256" if is_rsa(private) else "ES256").prepare_key(private).public_key()


def public_pem(private: str) -> str:
    return public_key(private).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def is_rsa(private: str) -> bool:
    return len(private) > 1000


def with_auth(settings: Settings, **auth: Any) -> Settings:
    return settings.model_copy(update={"auth": AuthSettings(**auth)})


@asynccontextmanager
async def gateway(
    cluster: ClusterClient, settings: Settings, address: str = "127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """A client, at an address, of a gateway with these settings before the cluster."""
    assert all((await cluster.ready()).checks.values())
    transport = httpx.ASGITransport(create_app(cluster, settings), client=(address, 4242))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        yield http


async def look(http: httpx.AsyncClient, token: str) -> httpx.Response:
    """Ask for a session that is not there: 404 with a good token."""
    return await http.get(UNKNOWN, headers={"Authorization": f"Bearer {token}"})


def good_claims(issuer: str, subject: str, **more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": issuer, "sub": subject, "iat": now, "exp": now + 60} | more


def segment(value: bytes | str | dict[str, Any]) -> str:
    """One part of a token."""
    if isinstance(value, dict):
        value = json.dumps(value)
    return urlsafe_b64encode(value.encode() if isinstance(value, str) else value).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any, secret: bytes | None) -> str:
    """A token of any header, signed HS256 with `secret`; with None its signature is empty."""
    signed = f"{segment(header)}.{segment(payload)}"
    digest = b"" if secret is None else hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{segment(digest)}"
