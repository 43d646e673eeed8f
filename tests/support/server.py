"""The cluster as its users run it: the console script in a process of its own, reached over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_S = 90.0
KEY = "rk_tests"
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

    @classmethod
    @contextmanager
    def start(cls, pools: Sequence[Mapping[str, object]] = POOLS, keep: str = "clips") -> Iterator[Server]:
        """Start it, wait until it is ready, and end it with all its processes."""
        port = free_port()
        log = Path(f"/tmp/llc-test-server-{port}.log")
        script = Path(sys.executable).with_name("longlive-cluster")
        own = {
            "LLC_API_KEYS": KEY,
            "LLC_POOLS": json.dumps(list(pools)),
            "LLC_METRICS_PORT": "19400",
            "LLC_RECORDING__KEEP": keep,
        }
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [script, "serve", "--host", "127.0.0.1", "--port", str(port)],
                env=os.environ | own,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = cls(f"http://127.0.0.1:{port}", KEY, process, log)
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

    def pids(self, title: str) -> list[int]:
        """Processes of this cluster whose command line begins with `title` (`ray::_RayAllocator`)."""
        processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        named = [int(entry.name) for entry in processes if _command_line(entry).startswith(title)]
        return [pid for pid in named if self._is_ours(pid)]

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
