"""Signs this cluster's tokens, and verifies them and those of the issuers in the settings.

A token's `iss` and `kid`, which anybody may have written, choose among keys that are known beforehand. The key fixes
the algorithm, so neither `none`, nor HS256 under a public key, nor a key that a token brings along is ever tried.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jwt

from cluster.records import PriorityClass
from cluster.settings import Settings
from gateway.claims import REQUIRED, UNREADABLE, Claims, issuer, payload_of, read, unverified
from gateway.errors import InvalidToken
from gateway.issuers import Issuer
from gateway.signing import OwnKeys, VerifyKey

VERIFIED = 4096
"""Good tokens whose signature is not computed again: a client sends the same one with all its requests."""


class Authority:
    """One per app. `jwt_secret` gives the HS256 secret of this cluster; `monotonic` times the issuers' keys."""

    def __init__(
        self,
        settings: Settings,
        jwt_secret: Callable[[], Awaitable[str]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = settings.cluster
        self._own = OwnKeys(settings.auth, jwt_secret)
        self._issuers = {
            each.issuer: Issuer(each, settings.auth.jwks_ttl_s, monotonic) for each in settings.auth.issuers
        }

    async def sign(self, claims: Claims) -> str:
        """The JWT of `claims`."""
        return await self._own.sign(payload_of(claims, self._cluster))

    async def verify(self, token: str) -> Claims:
        """The claims of a good token. Raises `TokenExpired`, `InvalidToken`, `Unavailable` (an issuer's keys)."""
        outside = unverified(token)
        own = outside.issuer == issuer(self._cluster)
        priority = PriorityClass.NORMAL
        if own:
            keys, audience = await self._own.candidates(outside.kid), None
        elif outside.issuer in self._issuers:
            trusted = self._issuers[outside.issuer]
            keys, audience = await trusted.candidates(outside.kid), trusted.settings.audience
            priority = trusted.settings.priority
        else:
            raise InvalidToken(UNREADABLE)
        payload = _payload(token, keys, outside.issuer, audience)
        return replace(read(payload, own=own, now=time.time()), priority=priority)

    def jwks(self) -> dict[str, Any]:
        """The public keys of this cluster's own tokens as a JWK set."""
        return self._own.jwks()


def _payload(token: str, keys: Iterable[VerifyKey], iss: str, audience: str | None) -> Mapping[str, Any]:
    """The payload, signed by one of `keys`. An audience of None refuses tokens that are meant for one."""
    for key in keys:
        try:
            return _signed(token, key, iss, audience)
        except jwt.InvalidSignatureError:
            continue
        except jwt.PyJWTError:
            break
    raise InvalidToken(UNREADABLE)


@lru_cache(VERIFIED)
def _signed(token: str, key: VerifyKey, iss: str, audience: str | None) -> Mapping[str, Any]:
    """The payload, signed by this key; a signature that was good stays so. Raises PyJWTError, each time anew."""
    return jwt.decode(
        token,
        key.key,
        algorithms=[key.algorithm],
        issuer=iss,
        audience=audience,
        options={
            "require": REQUIRED,
            "enforce_minimum_key_length": True,
            # times are compared by `claims.read`, at every request, with a skew for beginnings only
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        },
    )
