"""Keys in PEM, as the settings carry them: RSA for RS256 and P-256 for ES256, nothing weaker, nothing else."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey
PublicKey = RSAPublicKey | EllipticCurvePublicKey


def private_key(pem: str) -> PrivateKey:
    """An unencrypted private key. Raises ValueError, whose message has nothing of the key."""
    try:
        key = load_pem_private_key(_bytes(pem), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not an unencrypted private key in PEM") from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise ValueError(_KINDS)
    _check(key.public_key())
    return key


def public_key(pem: str) -> PublicKey:
    """A public key. Raises ValueError; a private key is refused too, as it would have no business there."""
    try:
        key = load_pem_public_key(_bytes(pem))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a public key in PEM") from None
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey):
        raise ValueError(_KINDS)
    _check(key)
    return key


_KINDS = f"neither RSA of at least {MIN_RSA_BITS} bits (RS256) nor P-256 (ES256)"


def _check(key: PublicKey) -> None:
    good = key.key_size >= MIN_RSA_BITS if isinstance(key, RSAPublicKey) else isinstance(key.curve, SECP256R1)
    if not good:
        raise ValueError(_KINDS)


def _bytes(pem: str) -> bytes:
    """Env files hold one line a variable, so a PEM there has `\\n` in two characters."""
    return pem.replace("\\n", "\n").strip().encode()
