"""What a token says: a JWT, opaque to clients, read strictly.

Claims: `iss`, `sub`, `iat`, `exp`, and `authorization_details` (RFC 9396) where the token is scoped. A token of this
cluster has `sub`, an API key's id, for its account. An account of another issuer is a digest of issuer and subject, so
that no two issuers' subjects, and no subject and key, are ever the same account.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cluster.records import PriorityClass
from cluster.settings import OWN_ISSUER
from gateway.errors import InvalidToken, TokenExpired
from wire.http import TOKEN_LIFETIME_MAX_S, AuthorizationDetail

MAX_TOKEN_BYTES = 8192
"""Servers and proxies stop reading a header somewhere above this."""
CLOCK_SKEW_S = 30
"""How far another machine's clock may be ahead. A token's end is taken exactly."""
REQUIRED = ["exp", "iat", "iss", "sub"]
UNREADABLE = "the token is not valid here"

_details = TypeAdapter(tuple[AuthorizationDetail, ...])


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times in unix seconds; `details` is None for a token of the whole account."""

    tenant: str
    issued_at: int
    expires_at: int
    details: tuple[AuthorizationDetail, ...] | None = None
    by_key: bool = True
    """Bought with an API key, whose id `tenant` then is."""
    priority: PriorityClass = PriorityClass.NORMAL
    """No word of the token's: the class that the settings give to its issuer."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token's outside, as anybody may have written it: good for choosing keys, for nothing else."""

    kid: str | None
    issuer: str


def issuer(cluster: str) -> str:
    """The `iss` of a cluster's tokens."""
    return f"{OWN_ISSUER}{cluster}"


def payload_of(claims: Claims, cluster: str) -> dict[str, Any]:
    """The payload of a token of this cluster."""
    payload: dict[str, Any] = {
        "iss": issuer(cluster),
        "sub": claims.tenant,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "jti": uuid.uuid4().hex,
    }
    if claims.details is not None:
        payload["authorization_details"] = [detail.model_dump(exclude_defaults=True) for detail in claims.details]
    return payload


def unverified(token: str) -> Unverified:
    """The key id and issuer that a token names. Raises InvalidToken.

    Refused at once: a token too large to be one, and names that occur twice in header or payload (RFC 7515, section
    4; RFC 7519, section 4), of which two parsers may take different ones.
    """
    parts = token.split(".")
    if len(token) > MAX_TOKEN_BYTES or len(parts) != 3:
        raise InvalidToken(UNREADABLE)
    header, payload = _json_object(parts[0]), _json_object(parts[1])
    kid, iss = header.get("kid"), payload.get("iss")
    if not isinstance(iss, str) or not isinstance(kid, str | None):
        raise InvalidToken(UNREADABLE)
    return Unverified(kid, iss)


def read(payload: Mapping[str, Any], *, own: bool, now: float) -> Claims:
    """The claims of a payload whose signature, issuer and audience are good. Raises TokenExpired, InvalidToken.

    No token is good for longer than the longest that is minted here, whatever another issuer writes into it.
    """
    issued_at, expires_at = _time(payload["iat"]), _time(payload["exp"])
    if max(issued_at, _time(payload.get("nbf", issued_at))) > now + CLOCK_SKEW_S:
        raise InvalidToken("the token is not valid yet")
    expires_at = min(expires_at, issued_at + TOKEN_LIFETIME_MAX_S)
    if expires_at <= now:
        raise TokenExpired("the token has expired")
    tenant = str(payload["sub"]) if own else _tenant(str(payload["iss"]), str(payload["sub"]))
    return Claims(tenant, int(issued_at), int(expires_at), _scope(payload), by_key=own)


def _tenant(iss: str, subject: str) -> str:
    if not subject:
        raise InvalidToken(UNREADABLE)
    return "sub_" + hashlib.sha256(json.dumps([iss, subject]).encode()).hexdigest()[:32]


def _scope(payload: Mapping[str, Any]) -> tuple[AuthorizationDetail, ...] | None:
    if "authorization_details" not in payload:
        return None
    try:
        return _details.validate_python(payload["authorization_details"])
    except ValidationError:
        raise InvalidToken("the token's authorization_details cannot be read") from None


def _time(value: object) -> float:
    if type(value) is int or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InvalidToken(UNREADABLE)


def _json_object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)), object_pairs_hook=_without_twins)
    except (ValueError, RecursionError):
        raise InvalidToken(UNREADABLE) from None
    if not isinstance(value, dict):
        raise InvalidToken(UNREADABLE)
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found
