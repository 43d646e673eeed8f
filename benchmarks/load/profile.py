"""Where the cluster's Python spends its time: py-spy beside its workers and gateways, as a table of functions."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PER_S = 100
TOP = 12


class NoProfile(Exception):
    """py-spy could not look into a process; the message is its own."""


def profile(pids: Mapping[str, Sequence[int]], seconds: int) -> list[dict[str, Any]]:
    """The busiest functions of each part: shares of its busy samples, `own` and with what they call. Raises NoProfile.

    Threads that wait are not counted; time in a library without Python is its caller's.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {pid: Path(folder) / f"{pid}.txt" for each in pids.values() for pid in each}
        running = [(pid, _recorded(pid, seconds, file)) for pid, file in files.items()]
        for pid, process in running:
            _, said = process.communicate()
            if process.returncode:
                raise NoProfile(f"py-spy of {pid}: {said.strip().splitlines()[-1] if said.strip() else 'no word'}")
        return [
            row for part, each in pids.items() for row in table(part, "".join(files[pid].read_text() for pid in each))
        ]


def _recorded(pid: int, seconds: int, file: Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--nonblocking", "--pid", str(pid)]
    more = ["--duration", str(seconds), "--rate", str(PER_S), "--format", "raw", "--output", str(file)]
    return subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def table(part: str, raw: str) -> list[dict[str, Any]]:
    """Of stacks as py-spy writes them, `outer;inner COUNT` a line."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_function(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        total.update(dict.fromkeys(frames, int(count)))
    samples = own.total()
    return [
        {"part": part, "function": name, "own": count / samples, "with_called": total[name] / samples}
        for name, count in own.most_common(TOP)
    ]


def _function(frame: str) -> str:
    """`name (file.py)`, without its line and the way to the file's package."""
    name, _, place = frame.partition(" (")
    file = place.rstrip(")").rpartition(":")[0]
    return f"{name} ({'/'.join(file.split('/')[-2:])})"
