"""A redis-server of a test's own, that can be killed, and comes back on the same port with its data or without."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from cluster.redis_server import binary
from tests.support.server import free_port

START_S = 20.0


class RedisProcess:
    """It runs from the start. Each write is in its file before it is answered, so that a SIGKILL loses none; that the
    file is on disk is not waited for, as the machine stays up."""

    def __init__(self, program: str | None = None) -> None:
        """`program` is a redis-server; None: the one that clusters embed."""
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.folder = Path(tempfile.mkdtemp(prefix="llc-test-redis-"))
        self.program = program or binary()
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, and wait until it is dead."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def start(self, *, empty: bool = False) -> None:
        """Start it again; returns once it answers."""
        if empty:
            self.clear()
        self._process = self._start()

    def clear(self) -> None:
        """Forget all, while it does not run."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "no"]
        command += ["--repl-diskless-sync-delay", "0"]  # who wants a copy need not wait for others to want one
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        with Redis.from_url(self.url) as probe:
            while not _answers(probe):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("redis-server did not start")
                time.sleep(0.01)
        return process


def _answers(probe: Redis) -> bool:
    try:
        return bool(probe.ping())
    except RedisError:  # not there yet, or still loading
        return False
