"""What a container of a rendered pod finds in its environment, as the kubelet puts it together."""

from __future__ import annotations

import re

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.helm.chart import Object, of_kind

_VARIABLE = re.compile(r"\$\((\w+)\)")


def _signing_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


SECRETS = {
    "api-keys": "rk_first,rk_second",
    "jwt-secret": "j" * 32,
    "signing-key": _signing_key(),
    "retired-secrets": '["' + "r" * 32 + '"]',
    "turn-secret": "t" * 32,
    "webhook-secret": "whsec_" + "dzAx" * 11,
    "redis-password": "password",
    "redis-url": "rediss://:password@redis.example.org:6379/0",
    "hub-token": "hf_token",
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "key",
}
"""What operators would put under each key of their secrets."""


def environment(container: Object, found: list[Object]) -> dict[str, str]:
    """Names and values; ConfigMaps are taken from the manifest, secrets from SECRETS."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(found, "ConfigMap")}
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        values |= maps[source["configMapRef"]["name"]]
    for entry in container.get("env", []):
        values[entry["name"]] = _value(entry, values)
    return values


def _value(entry: Object, before: dict[str, str]) -> str:
    if "value" in entry:
        return _VARIABLE.sub(lambda match: before.get(match[1], match[0]), entry["value"])
    if "fieldRef" in entry["valueFrom"]:
        return {"status.hostIP": "192.0.2.7"}[entry["valueFrom"]["fieldRef"]["fieldPath"]]
    return SECRETS[entry["valueFrom"]["secretKeyRef"]["key"]]
