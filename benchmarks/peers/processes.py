"""Servers as processes of their own, and what they have used of the CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import httpx

START_S = 30.0
STOP_S = 10.0
LOOK_EVERY_S = 0.1
LAST_WORDS = 300
"""Characters of a server's output that are told when it did not start."""


class Unavailable(Exception):
    """A contestant cannot take part; the message says why, in one line."""


@contextmanager
def serving(command: Sequence[str], url: str, environment: Mapping[str, str], folder: Path) -> Iterator[int]:
    """The process id of a server that answers on `url`. It is ended at the end. Raises Unavailable."""
    with TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command, env=os.environ | dict(environment), cwd=folder, stdout=log, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise Unavailable(str(error)) from error
        try:
            if not _answers(process, url):
                log.seek(0)
                raise Unavailable(f"did not start: {' '.join(log.read().decode()[-LAST_WORDS:].split())}")
            yield process.pid
        finally:
            _end(process)


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=START_S).is_success:
                return True
        except httpx.TransportError:
            pass
        time.sleep(LOOK_EVERY_S)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found = [pid]
    for each in found:  # grows as it is walked
        found += [child for child, parent in parents.items() if parent == each]
    return found


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds that processes have used so far, by user and system."""
    ticks = 0
    for pid in pids:
        fields = _stat(Path(f"/proc/{pid}"))
        ticks += int(fields[11]) + int(fields[12]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _parent(process: Path) -> int:
    fields = _stat(process)
    return int(fields[1]) if fields else 0


def _stat(process: Path) -> list[str]:
    """The fields after the command's name; none if it has ended meanwhile."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
