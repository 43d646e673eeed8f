"""Checks that several groups make."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr

MIN_SECRET_BYTES = 32
"""Of an HS256 secret: RFC 7518, section 3.2."""
_LOOPBACK = {("http", "localhost"), ("http", "127.0.0.1"), ("http", "::1")}


def check_secret(secret: SecretStr) -> None:
    """Raise ValueError for a secret that is short enough to be guessed; the message has nothing of it."""
    if len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"shorter than {MIN_SECRET_BYTES} bytes: whatever it signs would let it be guessed")


def is_protected(url: str) -> bool:
    """Whether nobody on the way can read or change what comes from a URL: https, or http on this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme, parts.hostname) in _LOOPBACK)
