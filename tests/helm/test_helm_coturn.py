"""coturn comes up with the configuration that the chart gives it, and takes the gateway's credentials."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioice import turn

from gateway.ice import turn_credentials
from tests.helm.chart import Object, objects, of_kind, with_values
from tests.helm.environment import SECRETS, environment
from tests.support.coturn import STARTED
from tests.support.server import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[tuple[int, list[str]]]:
    """The DaemonSet's container, run here with the loopback as its node: its port, and what it has said so far."""
    port = free_port()
    coturn = {"host": "turn.example.org", "port": port, "allowedPeers": ["10.0.0.0-10.0.255.255"]}
    found = objects(with_values({"turn": {"mode": "coturn", "existingSecret": "s", "coturn": coturn}}))
    (daemons,) = of_kind(found, "DaemonSet")
    (data,) = [each["data"] for each in of_kind(found, "ConfigMap") if "turnserver.conf" in each["data"]]
    configuration = tmp_path / "turnserver.conf"
    configuration.write_text(data["turnserver.conf"].replace("/tmp/", f"{tmp_path}/"))
    (container,) = daemons["spec"]["template"]["spec"]["containers"]
    command = _command(container, found, configuration)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if all(any(start in each for each in said) for start in STARTED):
                break
        yield port, said
        process.terminate()


def _command(container: Object, found: list[Object], configuration: Path) -> list[str]:
    values = environment(container, found) | {"NODE_IP": "127.0.0.1"}
    command = [word.replace("/etc/coturn/turnserver.conf", str(configuration)) for word in container["command"]]
    for name, value in values.items():
        command = [word.replace(f"$({name})", value) for word in command]
    return command


async def test_coturn_relays_for_the_gateways_credentials(relays: tuple[int, list[str]]):
    port, said = relays
    log = "".join(said)
    assert "Bad configuration" not in log, log
    own = turn_credentials(SECRETS["turn-secret"], "account", int(time.time()) + 60)
    server = ("127.0.0.1", port)
    relay, _ = await turn.create_turn_endpoint(
        asyncio.DatagramProtocol, server_addr=server, username=own.username, password=own.password
    )
    host, _ = relay.get_extra_info("sockname")
    assert host == "127.0.0.1"
    relay.close()
