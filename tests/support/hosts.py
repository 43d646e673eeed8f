"""Hosts of a Ray cluster, each in a network of its own: whatever runs on one reaches the others by the wire alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.netns import Namespace

PROGRAMS = Path(sys.executable).parent
GCS_PORT = 6379
STOP_S = 60.0
OBJECT_STORE_BYTES = 80 * 2**20
LEAN = ("--object-store-memory", str(OBJECT_STORE_BYTES), "--disable-usage-stats")
FOREVER = ("sh", "-c", 'while :; do "$@"; done', "forever")
FIRST = ("--head", "--port", str(GCS_PORT), "--include-dashboard", "false")


class Host:
    """A host and what was started on it. Its Ray node is the first, or joins the one at the address `head`."""

    def __init__(self, network: Namespace, address: str, variables: Mapping[str, str], head: str | None = None) -> None:
        self.network, self.address = network, address
        self._environment = os.environ | variables
        self._head = head
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str | Path) -> subprocess.Popen[bytes]:
        """Start a program on it."""
        process = subprocess.Popen(
            [*self.network.prefix, *command],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def told(self, *command: str | Path) -> str:
        """What a program prints that ends by itself. Raises CalledProcessError."""
        whole = [*self.network.prefix, *command]
        done = subprocess.run(whole, env=self._environment, check=True, capture_output=True, text=True, timeout=STOP_S)
        return done.stdout

    def join(self, cpus: int, resources: Mapping[str, float]) -> None:
        """Start its Ray node, and start it again whenever it ends: it does when Ray had given it up, as Kubernetes
        would."""
        where = ("--address", f"{self._head}:{GCS_PORT}") if self._head else FIRST
        offers = ("--node-ip-address", self.address, "--num-cpus", str(cpus), "--resources", json.dumps(resources))
        self.run(*FOREVER, PROGRAMS / "ray", "start", "--block", *where, *offers, *LEAN)

    def power_off(self) -> None:
        """End everything on it, at once."""
        while pids := self.network.pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait(STOP_S)
