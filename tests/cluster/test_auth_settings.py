"""Settings of tokens and keys: what stops start-up, and that nothing secret shows when it does."""

from __future__ import annotations

import json
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pydantic import ValidationError

from cluster import pem
from cluster.settings import AuthSettings, IssuerSettings, Settings
from tests.support.auth import private_pem, public_pem

pytestmark = pytest.mark.fast

URL = "https://issuer.test/jwks.json"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LLC_")]:
        monkeypatch.delenv(name)


def _pem(key, how: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption()).decode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_pem_comes_whole_or_on_one_line(monkeypatch, algorithm):
    key = private_pem(algorithm)
    for spelling in (key, key.replace("\n", "\\n"), f"\n{key}\n"):
        monkeypatch.setenv("LLC_AUTH__SIGNING_KEY", spelling)
        monkeypatch.setenv("LLC_AUTH__VERIFICATION_KEYS", json.dumps([public_pem(key)]))
        auth = Settings().auth
        assert pem.private_key(auth.signing_key.get_secret_value()).public_key() == pem.public_key(
            auth.verification_keys[0]
        )


def test_settings_reach_another_process_whole():
    key = private_pem("ES256")
    issuers = [IssuerSettings(issuer="a", jwks_url=URL, audience="b")]
    settings = Settings(auth=AuthSettings(signing_key=key, retired_secrets=["s" * 32], issuers=issuers))
    assert Settings(**settings.model_dump()) == settings


@pytest.mark.parametrize(
    "key",
    [
        lambda: "secret material",
        lambda: private_pem("ES256")[:100],
        lambda: public_pem(private_pem("ES256")),
        lambda: _pem(ec.generate_private_key(ec.SECP384R1())),
        lambda: _pem(rsa.generate_private_key(65537, 1024)),
        lambda: _pem(ed25519.Ed25519PrivateKey.generate()),
        lambda: _pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"password")),
    ],
)
def test_a_signing_key_that_is_none_stops_start_up_unseen(monkeypatch, key):
    value = key()
    monkeypatch.setenv("LLC_AUTH__SIGNING_KEY", value)
    with pytest.raises(ValidationError, match=r"auth\.signing_key") as refusal:
        Settings()
    assert value[-60:].strip() not in str(refusal.value)
    assert "secret material" not in str(refusal.value)


@pytest.mark.parametrize(
    "key",
    [
        lambda: "not a key",
        lambda: private_pem("ES256"),
        lambda: (
            ec.generate_private_key(ec.SECP521R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
        ),
    ],
)
def test_a_verification_key_is_public_and_strong(key):
    with pytest.raises(ValidationError, match="verification_keys"):
        AuthSettings(verification_keys=[key()])


@pytest.mark.parametrize(
    ("name", "value"),
    [("LLC_JWT_SECRET", "hunter2-hunter2"), ("LLC_AUTH__RETIRED_SECRETS", '["hunter2-hunter2"]')],
)
def test_a_secret_that_can_be_guessed_stops_start_up_unseen(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="shorter than 32 bytes") as refusal:
        Settings()
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"jwks_url": "http://issuer.test/jwks.json"}, "https"),
        ({"jwks_url": "file:///etc/passwd"}, "https"),
        ({"jwks_url": "https:///jwks.json"}, "https"),
        ({"jwks_url": "http://localhost.issuer.test/"}, "https"),
        ({"issuer": "longlive-cluster/other"}, "own"),
        ({"issuer": ""}, "issuer"),
        ({"audience": ""}, "audience"),
    ],
)
def test_an_issuer_that_cannot_be_trusted_stops_start_up(changes, said):
    good = {"issuer": "https://issuer.test/", "jwks_url": URL, "audience": "https://cluster.test"}
    assert IssuerSettings(**good)
    with pytest.raises(ValidationError, match=said):
        IssuerSettings(**(good | changes))


def test_an_issuer_is_there_once():
    one = IssuerSettings(issuer="a", jwks_url=URL, audience="b")
    with pytest.raises(ValidationError, match="twice"):
        AuthSettings(issuers=[one, one])
