"""Other issuers' public keys, fetched from the URL in the settings and kept for a while.

The URL never comes from a token: `jku`, `x5u` and `jwk` in a header are not looked at. A key id that is not known yet
asks the issuer again, though not more often than every `COOLDOWN_S`, so unknown ids cannot make the gateway a flood. An
issuer that does not answer costs nothing while its last keys are younger than `STALE_S`.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import structlog

from cluster.errors import Unavailable
from cluster.settings import IssuerSettings
from gateway.signing import VerifyKey

FETCH_TIMEOUT_S = 3.0
COOLDOWN_S = 15.0
STALE_S = 3600.0
MAX_JWKS_BYTES = 262_144
_ALGORITHM_OF = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}
_log = structlog.get_logger(__name__)


class Issuer:
    """One issuer. `clock` counts seconds, from wherever."""

    def __init__(self, settings: IssuerSettings, ttl_s: float, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._ttl_s = ttl_s
        self._clock = clock
        self._keys: dict[str, VerifyKey] = {}
        self._fetched_at = self._tried_at = -math.inf
        self._lock = asyncio.Lock()

    async def candidates(self, kid: str | None) -> list[VerifyKey]:
        """The key of this id, if the issuer has it. Raises Unavailable when there are no keys to look at."""
        if kid is None:
            return []
        if self._due(kid):
            async with self._lock:
                if self._due(kid):  # nobody fetched while this one waited
                    await self._refresh()
        if self._clock() - self._fetched_at > max(STALE_S, self._ttl_s):
            raise Unavailable("the token's issuer cannot be asked for its keys")
        return [self._keys[kid]] if kid in self._keys else []

    def _due(self, kid: str) -> bool:
        now = self._clock()
        fresh = kid in self._keys and now - self._fetched_at < self._ttl_s
        return not fresh and now - self._tried_at >= COOLDOWN_S

    async def _refresh(self) -> None:
        """Ask. An attempt counts when it has ended: until then whoever needs it waits for it."""
        try:
            self._keys = _usable(await _fetch(self.settings.jwks_url))
            self._fetched_at = self._clock()
        except (httpx.HTTPError, ValueError, RecursionError, TimeoutError) as error:
            _log.warning("jwks_unavailable", issuer=self.settings.issuer, error=type(error).__qualname__)
        self._tried_at = self._clock()


async def _fetch(url: str) -> Any:
    """The JSON behind the URL. Redirects are not followed: they could lead anywhere."""
    body = bytearray()
    headers = {"Accept": "application/jwk-set+json, application/json"}
    async with (
        asyncio.timeout(FETCH_TIMEOUT_S),
        httpx.AsyncClient(follow_redirects=False) as http,
        http.stream("GET", url, headers=headers) as answer,
    ):
        answer.raise_for_status()
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > MAX_JWKS_BYTES:
                raise ValueError("too long for a JWK set")
    return json.loads(body)


def _usable(jwks: object) -> dict[str, VerifyKey]:
    """The signing keys of a JWK set by id. Secrets (`oct`), encryption keys and unknown kinds are passed over."""
    if not isinstance(jwks, dict) or not isinstance(jwks.get("keys"), list):
        raise ValueError("not a JWK set")
    keys = {}
    for jwk in jwks["keys"]:
        if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str) and (key := _key(jwk)):
            keys[jwk["kid"]] = key
    return keys


def _key(jwk: dict[str, Any]) -> VerifyKey | None:
    algorithm = _ALGORITHM_OF.get((str(jwk.get("kty")), jwk.get("crv") and str(jwk["crv"])))
    if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return None
    try:
        return VerifyKey(algorithm, jwt.PyJWK(jwk, algorithm).key)
    except jwt.PyJWTError:
        return None
