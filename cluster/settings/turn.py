"""STUN and TURN: the servers that help peers to find a way to each other."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from cluster.settings.checks import check_secret
from cluster.settings.group import Group

_HOST = r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
_ICE_URI = re.compile(rf"stuns?:{_HOST}|turns?:{_HOST}(?:\?transport=(?:udp|tcp))?")


class TurnSettings(Group):
    """STUN and TURN servers given to clients; credentials are minted per session with `secret` (TURN REST)."""

    uris: tuple[str, ...] = ()
    """`stun:`, `stuns:` (RFC 7064), `turn:`, `turns:`, with `?transport=udp` or `tcp` (RFC 7065)."""
    secret: SecretStr | None = None
    """What the TURN server knows as `static-auth-secret`."""
    ttl_s: int = Field(default=3600, gt=0)
    """How long credentials are good for a new relay; one in use goes on."""

    @field_validator("uris")
    @classmethod
    def _are_ice_uris(cls, uris: tuple[str, ...]) -> tuple[str, ...]:
        for number, uri in enumerate(uris, 1):
            if not _ICE_URI.fullmatch(uri):
                raise ValueError(f"number {number} is no such URI as turn:turn.example.org:3478?transport=udp")
        return uris

    @field_validator("secret")
    @classmethod
    def _is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            check_secret(secret)
        return secret

    @model_validator(mode="after")
    def _relays_have_a_secret(self) -> Self:
        if self.secret is None and any(uri.startswith("turn") for uri in self.uris):
            raise ValueError("a turn: or turns: URI needs the secret: browsers take no relay without credentials")
        return self
