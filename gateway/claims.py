"""The token on the wire: a JWT signed with HS256, opaque to clients.

Claims: `iss` this cluster, `sub` the key's id (the tenant), `iat`, `exp`, `jti`, and `authorization_details`
(RFC 9396) where the token is scoped.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import jwt
from pydantic import TypeAdapter, ValidationError

from gateway.errors import InvalidToken, TokenExpired
from wire.http import AuthorizationDetail

ALGORITHM = "HS256"
_REQUIRED = ["exp", "iat", "iss", "sub"]
_details = TypeAdapter(tuple[AuthorizationDetail, ...])


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times in unix seconds; `details` is None for a token of the whole account."""

    tenant: str
    issued_at: int
    expires_at: int
    details: tuple[AuthorizationDetail, ...] | None = None


def issuer(cluster: str) -> str:
    """The `iss` of a cluster's tokens."""
    return f"longlive-cluster/{cluster}"


def sign(claims: Claims, cluster: str, secret: str) -> str:
    """The JWT of `claims`."""
    payload = {
        "iss": issuer(cluster),
        "sub": claims.tenant,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "jti": uuid.uuid4().hex,
    }
    if claims.details is not None:
        payload["authorization_details"] = [detail.model_dump(exclude_none=True) for detail in claims.details]
    return jwt.encode(payload, secret, algorithm=ALGORITHM)


def verify(token: str, cluster: str, secret: str) -> Claims:
    """The claims of a token of this cluster. Raises `TokenExpired`, `InvalidToken`.

    The algorithm is fixed: neither `none` nor a key type chosen by the token's header is looked at.
    """
    try:
        payload = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            issuer=issuer(cluster),
            # `iat` is required but not compared: the clocks of two replicas may differ by a second
            options={"require": _REQUIRED, "verify_iat": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired("the token has expired") from error
    except jwt.PyJWTError as error:
        raise InvalidToken("the token is not valid here") from error
    try:
        details = payload.get("authorization_details")
        scope = None if details is None else _details.validate_python(details)
        return Claims(str(payload["sub"]), int(payload["iat"]), int(payload["exp"]), scope)
    except (ValidationError, TypeError, ValueError) as error:
        raise InvalidToken("the token's claims cannot be read") from error
