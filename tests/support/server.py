"""The cluster as its users run it: the console script in a process of its own, reached over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

ROOT = Path(__file__).parents[2]
START_S = 120.0
KEY = "rk_tests"
WORKERS = "ray::_RayWorker"
"""How the command lines of workers begin."""
METRICS_PORTS = 8
"""Processes of a cluster here, at most, that count anything: the allocator, gateways and workers."""
POOLS = (
    {"model": "longlive-v2", "min_warm": 1, "max_workers": 2},
    {"model": "echo", "max_workers": 1},
)


@dataclass(frozen=True)
class Server:
    """A running cluster."""

    url: str
    api_key: str
    process: subprocess.Popen[bytes]
    log: Path
    metrics_port: int
    """The allocator's; those of the gateway and the workers follow."""
    gcs_port: int
    """Of its Ray."""
    checkout: Path = ROOT
    """Where its code is."""

    @classmethod
    @contextmanager
    def start(
        cls,
        pools: Sequence[Mapping[str, object]] = POOLS,
        keep: str = "clips",
        more: Mapping[str, str] | None = None,
        checkout: Path = ROOT,
        host: str = "127.0.0.1",
    ) -> Iterator[Server]:
        """Start it, with `more` in its environment, wait until it is ready, and end it with all its processes.

        It listens at the address `host`, which must cover 127.0.0.1. Another checkout is of another revision, and runs
        with the packages that are installed here.
        """
        port, metrics_port, gcs_port = free_port(), free_port(), free_port()
        log = Path(f"/tmp/llc-test-server-{port}.log")
        script = Path(sys.executable).with_name("longlive-cluster")
        own = {
            "LLC_API_KEYS": KEY,
            "LLC_POOLS": json.dumps(list(pools)),
            "LLC_METRICS_PORT": str(metrics_port),
            "LLC_RECORDING__KEEP": keep,
            "RAY_GCS_SERVER_PORT": str(gcs_port),
        }
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [script, "serve", "--host", host, "--port", str(port)],
                env=os.environ | own | dict(more or {}) | _code(checkout),
                cwd=checkout,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = cls(f"http://127.0.0.1:{port}", KEY, process, log, metrics_port, gcs_port, checkout)
        try:
            server._wait()
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            log.unlink()

    def token(self) -> dict[str, str]:
        """Headers that authorise a request."""
        reply = httpx.post(f"{self.url}/tokens", headers={"Reactor-API-Key": self.api_key}, timeout=10)
        return {"Authorization": f"Bearer {reply.raise_for_status().json()['jwt']}"}

    def run(self, *arguments: str) -> str:
        """What a command of the console script prints about this cluster, and no other one of this machine."""
        script = Path(sys.executable).with_name("longlive-cluster")
        done = subprocess.run([script, *arguments], env=self.environment(), capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}")
        return done.stdout

    @contextmanager
    def replicas(self, count: int, prefix: str) -> Iterator[str]:
        """So many more replicas of the gateway in the block; the URL under which they serve."""
        command = [sys.executable, "-m", "tests.support.replicas", str(count), prefix]
        environment = self.environment() | {"LLC_METRICS_PORT": str(self.metrics_port)}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=environment, cwd=ROOT, stdin=pipe, stdout=pipe) as process:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("the replicas did not start")
            yield f"{self.url}{prefix}"

    def environment(self) -> dict[str, str]:
        """The environment of a program that is to reach this cluster, and no other one of this machine."""
        ray = {"RAY_ADDRESS": f"127.0.0.1:{self.gcs_port}", "RAY_AUTH_MODE": "token"}
        return os.environ | ray | _code(self.checkout)

    def holder(self, session_id: str) -> dict[str, Any]:
        """The status of the worker that holds a session. Raises LookupError."""
        for worker in map(json.loads, self.run("workers", "--json").splitlines()):
            if any(held["session_id"] == session_id for held in worker["sessions"]):
                found: dict[str, Any] = worker
                return found
        raise LookupError(session_id)

    def pids(self, title: str) -> list[int]:
        """Processes of this cluster whose command line begins with `title` (`ray::_RayAllocator`)."""
        processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        named = [int(entry.name) for entry in processes if _command_line(entry).startswith(title)]
        return [pid for pid in named if self._is_ours(pid)]

    def counted(self, name: str, by: str = "model") -> Counter[str]:
        """A series by the values of one of its labels, summed over all processes."""
        return sum((_by(samples, name, by) for samples in self.scraped()), Counter())

    def scraped(self) -> list[list[Sample]]:
        """What each process that counts anything exports."""
        found = []
        with httpx.Client(verify=False, timeout=10) as http:
            for port in range(self.metrics_port, self.metrics_port + METRICS_PORTS):
                with suppress(httpx.NetworkError, httpx.ProtocolError):  # nobody's, or a port of another program
                    text = http.get(f"http://127.0.0.1:{port}/metrics").text
                    found.append([each for family in text_string_to_metric_families(text) for each in family.samples])
        return found

    def cpu_s(self, title: str) -> float:
        """CPU seconds that those processes have used so far."""
        ticks = 0
        for pid in self.pids(title):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _is_ours(self, pid: int) -> bool:
        while pid > 1:
            if pid == self.process.pid:
                return True
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return False

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/ready", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"the cluster did not start:\n{self.log.read_text()[-4000:]}")


def _by(samples: Iterable[Sample], name: str, label: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in samples:
        if each.name == name:
            total[each.labels[label]] += each.value
    return total


def _code(checkout: Path) -> dict[str, str]:
    """What has its packages found before those that are installed; Ray's workers look into the working folder, too."""
    return {} if checkout == ROOT else {"PYTHONPATH": str(checkout)}


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # it has ended meanwhile


def free_port() -> int:
    """A TCP port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
