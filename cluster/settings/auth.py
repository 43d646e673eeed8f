"""Tokens and API keys: who signs, whose word is taken, and how often one may be wrong."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from cluster import pem
from cluster.records import PriorityClass
from cluster.settings.checks import check_secret, is_protected
from cluster.settings.group import Group

OWN_ISSUER = "longlive-cluster/"
"""Beginning of the `iss` of every cluster's own tokens."""


class IssuerSettings(Group):
    """An identity provider whose tokens are accepted as they are."""

    issuer: str = Field(min_length=1)
    """The `iss` of its tokens, character by character."""
    jwks_url: str
    """Where its public keys are; https, or http on this machine."""
    audience: str = Field(min_length=1)
    """What `aud` must be or contain."""
    priority: PriorityClass = PriorityClass.NORMAL
    """Class of its subjects' sessions where they wait."""

    @field_validator("issuer")
    @classmethod
    def _not_ours(cls, issuer: str) -> str:
        if issuer.startswith(OWN_ISSUER):
            raise ValueError(f"{OWN_ISSUER}… are this software's own")
        return issuer

    @field_validator("jwks_url")
    @classmethod
    def _protected(cls, url: str) -> str:
        if not is_protected(url):
            raise ValueError("not an https URL: whoever can change the keys on their way can sign tokens")
        return url


class AuthSettings(Group):
    """What signs tokens, whose tokens are accepted, and how wrong API keys are slowed down."""

    signing_key: SecretStr | None = None
    """Private key in PEM (RSA: RS256, P-256: ES256); None signs HS256 with `jwt_secret`."""
    verification_keys: tuple[str, ...] = ()
    """Public keys in PEM that verify beside the signing key: the one before it, or the one after it."""
    retired_secrets: tuple[SecretStr, ...] = ()
    """HS256 secrets that still verify and no longer sign."""
    issuers: tuple[IssuerSettings, ...] = ()
    jwks_ttl_s: int = Field(default=300, ge=1)
    """How long an issuer's keys are used before they are asked for again."""
    key_failures: int = Field(default=10, ge=1)
    """Wrong API keys from one address, or with one beginning, in a window."""
    key_failure_window_s: int = Field(default=60, ge=1)

    @field_validator("signing_key")
    @classmethod
    def _is_private(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            pem.private_key(key.get_secret_value())
        return key

    @field_validator("verification_keys")
    @classmethod
    def _are_public(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            pem.public_key(key)
        return keys

    @field_validator("retired_secrets")
    @classmethod
    def _are_long(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            check_secret(secret)
        return secrets

    @field_validator("issuers")
    @classmethod
    def _are_different(cls, issuers: tuple[IssuerSettings, ...]) -> tuple[IssuerSettings, ...]:
        if len({each.issuer for each in issuers}) < len(issuers):
            raise ValueError("an issuer is there twice")
        return issuers
