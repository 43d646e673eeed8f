"""The keys of this cluster's own tokens: one signs, several verify, each with the one algorithm it is for.

With a signing key in PEM tokens carry its `kid`, the key's RFC 7638 thumbprint; HS256 secrets have none. So a token's
header chooses among known keys, and never an algorithm.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from cluster import pem
from cluster.settings import AuthSettings

SHARED_ALGORITHM = "HS256"
"""Of the secrets, with which whoever verifies could also sign."""


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A key and the only algorithm it is good for."""

    algorithm: str
    key: pem.PublicKey | str = field(hash=False)  # public keys have no hash


class OwnKeys:
    """Signs, verifies and publishes. `jwt_secret` is asked each time, as it lives in Redis."""

    def __init__(self, auth: AuthSettings, jwt_secret: Callable[[], Awaitable[str]]) -> None:
        self._jwt_secret = jwt_secret
        self._retired = [secret.get_secret_value() for secret in auth.retired_secrets]
        self._private = pem.private_key(auth.signing_key.get_secret_value()) if auth.signing_key else None
        public = [self._private.public_key()] if self._private else []
        public += [pem.public_key(key) for key in auth.verification_keys]
        self._public = {_kid(key): VerifyKey(_algorithm(key), key) for key in public}
        self._jwks = [{**_jwk(key), "kid": _kid(key), "use": "sig", "alg": _algorithm(key)} for key in public]

    async def sign(self, payload: dict[str, Any]) -> str:
        """The JWT of `payload`."""
        if self._private is None:
            return jwt.encode(payload, await self._jwt_secret(), algorithm=SHARED_ALGORITHM)
        public = self._private.public_key()
        return jwt.encode(payload, self._private, algorithm=_algorithm(public), headers={"kid": _kid(public)})

    async def candidates(self, kid: str | None) -> list[VerifyKey]:
        """The keys that a token with this `kid` may be signed with; none if it is not known."""
        if kid is not None:
            return [self._public[kid]] if kid in self._public else []
        current = [] if self._private else [await self._jwt_secret()]
        return [VerifyKey(SHARED_ALGORITHM, secret) for secret in (*current, *self._retired)]

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517), the signing one first; empty with HS256 alone."""
        return {"keys": self._jwks}


def _algorithm(key: pem.PublicKey) -> str:
    return "RS256" if isinstance(key, RSAPublicKey) else "ES256"


def _kid(key: pem.PublicKey) -> str:
    """RFC 7638: a digest of the required members, in order."""
    canonical = json.dumps(_jwk(key), sort_keys=True, separators=(",", ":"))
    return urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


def _jwk(key: pem.PublicKey) -> dict[str, Any]:
    """The required members of RFC 7518, section 6, and no others."""
    if isinstance(key, RSAPublicKey):
        full = RSAAlgorithm.to_jwk(key, as_dict=True)
        return {name: full[name] for name in ("kty", "n", "e")}
    full = ECAlgorithm.to_jwk(key, as_dict=True)
    return {name: full[name] for name in ("kty", "crv", "x", "y")}
