"""coturn as operators run it: the configuration of `docs/turnserver.conf`, with a test's own addresses in it."""

from __future__ import annotations

import ipaddress
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.server import free_port

EXAMPLE = Path(__file__).parents[2] / "docs" / "turnserver.conf"
OLD_SECRET = "the secret from which it is being changed".replace(" ", "-")
SECRET = "a secret of its own, long enough to be one".replace(" ", "-")
START_S = 20.0
STARTED = ("Total General servers", "IO method (auth thread)")
"""In the log once every listener is open and credentials can be checked."""


@dataclass(frozen=True)
class Coturn:
    """A running TURN server. `certificate` is what a client must trust for `turns:`."""

    address: str
    port: int
    tls_port: int
    certificate: Path

    @property
    def uris(self) -> dict[str, str]:
        """By the way there: udp, tcp, tls."""
        return {
            "udp": f"turn:{self.address}:{self.port}?transport=udp",
            "tcp": f"turn:{self.address}:{self.port}?transport=tcp",
            "tls": f"turns:{self.address}:{self.tls_port}?transport=tcp",
        }


@contextmanager
def coturn(
    folder: Path,
    *,
    workers: Sequence[str],
    address: str = "127.0.0.1",
    relay_address: str = "127.0.0.1",
    prefix: Sequence[str] = (),
) -> Iterator[Coturn]:
    """Start it and end it. It relays to `workers` alone; `prefix` is a command that runs it somewhere else."""
    certificate, key = _certificate(folder, address)
    server = Coturn(address, free_port(), free_port(), certificate)
    values = {
        "listening-ip": [address],
        "relay-ip": [relay_address],
        "listening-port": [str(server.port)],
        "tls-listening-port": [str(server.tls_port)],
        "cert": [str(certificate)],
        "pkey": [str(key)],
        "static-auth-secret": [OLD_SECRET, SECRET],
        "allowed-peer-ip": list(workers),
    }
    log = folder / "log"
    own = f"log-file={log}\nsimple-log\npidfile={folder / 'pid'}\nuserdb={folder / 'users'}\n"
    configuration = folder / "turnserver.conf"
    configuration.write_text(_configured(EXAMPLE.read_text(), values) + own)
    command = [*prefix, "turnserver", "-c", str(configuration)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_started(process, log)
        yield server
    finally:
        process.terminate()
        process.wait()


def _configured(example: str, values: Mapping[str, Sequence[str]]) -> str:
    """The example with other values; each name must be there exactly once."""
    for name, several in values.items():
        lines = "\n".join(f"{name}={value}" for value in several)
        example, found = re.subn(rf"(?m)^{name}=.*$", lines, example)
        assert found == 1, name
    return example


def _wait_until_started(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not (log.exists() and all(line in log.read_text() for line in STARTED)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"coturn has not started: {log.read_text() if log.exists() else 'no log'}")
        time.sleep(0.01)


def _certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A certificate of its own for the address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "turn.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths
