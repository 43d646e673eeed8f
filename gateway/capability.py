"""The URLs of a clip's files: whoever has one may fetch that clip's segments for a while, and nothing else.

Browsers fetch segments without a token, so the URL is the permission: a JWT under a key of its own, which is derived
from the cluster's secret and signs nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import jwt

from gateway.errors import GatewayError

_ALGORITHM = "HS256"
_PURPOSE = b"clip capability"


class InvalidCapability(GatewayError):
    """The URL was not made here, or its time is over."""

    status = 403
    code = "invalid_capability"


@dataclass(frozen=True, slots=True)
class Capability:
    """A clip: segments `first` to `last` of a recording."""

    tenant: str
    session_id: str
    epoch: int
    first: int
    last: int

    def sign(self, secret: str, expires_at: int) -> str:
        """As part of a URL, good until a unix time."""
        claims = {"t": self.tenant, "s": self.session_id, "e": self.epoch, "f": self.first, "l": self.last}
        return jwt.encode(claims | {"exp": expires_at}, _key(secret), _ALGORITHM)

    @classmethod
    def read(cls, token: str, secret: str) -> Capability:
        """Raises InvalidCapability."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, _key(secret), algorithms=[_ALGORITHM], options={"require": ["exp"]}
            )
        except jwt.PyJWTError:
            raise InvalidCapability("the URL is not, or no longer, good") from None
        return cls(claims["t"], claims["s"], claims["e"], claims["f"], claims["l"])


def _key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)
