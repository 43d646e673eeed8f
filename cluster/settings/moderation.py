"""Moderation, and the secret that it shares with the operator's service."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from cluster.moderation.denylist import DenyList
from cluster.settings.checks import MIN_SECRET_BYTES, is_protected
from cluster.settings.group import Group


class ModerationSettings(Group):
    """Who looks at what clients say and show before the model sees it. Nobody, unless a list or a URL is set."""

    deny_list: Path | None = None
    """File of words and patterns, the same on every worker (`cluster.moderation.denylist`); asked first."""
    webhook_url: str | None = None
    """A service of the operator's (`cluster.moderation.webhook`); https, or http on this machine."""
    webhook_secret: SecretStr | None = None
    """What requests to it are signed with: `whsec_` and 32 bytes or more in base64."""
    timeout_s: float = Field(default=2.0, gt=0, le=10)
    """How long the service may take at each attempt; clients wait 10 s for the reply to a command."""
    attempts: int = Field(default=3, ge=1, le=10)
    fail: Literal["closed", "open"] = "closed"
    """What becomes of a content when the service does not answer: it is refused, or passes unseen."""
    max_warnings: int = Field(default=10, ge=0)
    """The next one ends the session."""
    cache_ttl_s: int = Field(default=300, ge=0)
    """How long a verdict on equal contents of an account is used again, in seconds."""

    @field_validator("deny_list")
    @classmethod
    def _is_a_list(cls, path: Path | None) -> Path | None:
        if path is not None:
            DenyList.read(path)
        return path

    @field_validator("webhook_url")
    @classmethod
    def _is_private(cls, url: str | None) -> str | None:
        if url is not None and not is_protected(url):
            raise ValueError("not an https URL: prompts would be read, and verdicts made, on the way")
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _is_a_key(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            webhook_key(secret.get_secret_value())
        return secret

    @model_validator(mode="after")
    def _requests_are_signed(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError("a webhook needs the secret: the service must know who asks")
        return self


def webhook_key(secret: str) -> bytes:
    """The bytes of a secret as Standard Webhooks writes it. Raises ValueError, which tells nothing of it."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith("whsec_") or len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"not whsec_ and {MIN_SECRET_BYTES} bytes or more in base64")
    return key
