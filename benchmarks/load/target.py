"""The cluster that is loaded: one of this machine's own, whose processes can be looked at, or any that runs."""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load.setting import Setting
from benchmarks.viewer import MODEL
from tests.support.server import WORKERS, Server

TITLES = {"workers": WORKERS, "gateway": "ray::ServeReplica:gateway"}
"""How the command lines of its parts begin."""
PLAYERS = "benchmarks.load.players"
COUNTED = {
    "llc_playout_lead_seconds_count": "chunks",
    "llc_chunk_deadline_missed_total": "missed",
    "llc_encoder_waits_total": "encoder_waits",
}
LOOK_EVERY_S = 0.5
IDLE_S = 180.0
"""For all workers to be loaded and free."""
LIMITS = {
    "LLC_LIMITS__MAX_CREATIONS_PER_MINUTE": "6000",
    "LLC_LIMITS__MAX_SESSIONS_PER_TENANT": "1000",
}
"""An account of this test may do more than one of anybody's."""


@dataclass(frozen=True, slots=True)
class Look:
    """What has been counted and used so far: chunks, sums and counts of `llc_chunk_seconds` by stage, CPU seconds of
    parts of the cluster and of the players, of single threads of its workers and gateways, and of the whole machine."""

    at: float
    counted: Counter[str]
    stages_s: Mapping[str, float]
    stages: Counter[str]
    cpu_s: dict[str, float]
    threads_s: dict[int, float]
    busy_s: float


class Target(Protocol):
    """A cluster."""

    url: str
    key: str
    cores: int
    """That it is kept to; 0 is all of its machine."""

    def free(self) -> None:
        """Return when all workers can take sessions."""
        ...

    def look(self) -> Look:
        """Now."""
        ...

    def pids(self) -> dict[str, list[int]]:
        """Of workers and gateways, if they are of this machine."""
        ...


class Running:
    """A cluster of somebody's: of its processes nothing is known but what the metrics say that are named."""

    def __init__(self, url: str, key: str, metrics: Sequence[str]) -> None:
        self.url = url
        self.cores = 0
        self.key = key
        self._metrics = metrics

    def free(self) -> None:
        """Nobody can tell."""

    def look(self) -> Look:
        """By the metrics."""
        read = _Read(self._metrics)
        cpu = ({"cluster": read.cpu_s} if self._metrics else {}) | _players()
        return Look(time.perf_counter(), read.counted, read.stages_s, read.stages, cpu, {}, _busy_s())

    def pids(self) -> dict[str, list[int]]:
        """None."""
        return {}


class Own:
    """A cluster that was started for this test."""

    def __init__(self, server: Server, workers: int, cores: int) -> None:
        self.url = server.url
        self.cores = cores
        self.key = server.api_key
        self._server = server
        self._workers = workers
        self._metrics: list[str] = []

    @classmethod
    @contextmanager
    def started(cls, setting: Setting, workers: int, per_worker: int, cores: int) -> Iterator[Own]:
        """With so many workers of so many sessions; on the first `cores` of the machine, if not 0, and this process and
        its players on the others."""
        pool = {"model": MODEL, "min_warm": workers, "max_workers": workers, "sessions_per_worker": per_worker}
        every = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, every[:cores] if cores else every)
        try:
            with Server.start([pool], "off", LIMITS | setting.more, setting.checkout) as server:
                os.sched_setaffinity(0, every[cores:] if cores < len(every) else every)
                yield cls(server, workers, cores)
        finally:
            os.sched_setaffinity(0, every)

    def free(self) -> None:
        """Wait for all workers. Raises TimeoutError."""
        deadline = time.monotonic() + IDLE_S
        while self._idle() < self._workers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all workers were free within {IDLE_S:g} s")
            time.sleep(LOOK_EVERY_S)
        if not self._metrics:
            told = [json.loads(line) for line in self._server.run("workers", "--json").splitlines()]
            self._metrics = [_metrics(worker["metrics_port"]) for worker in told]

    def look(self) -> Look:
        """At its workers' metrics and at all its processes."""
        read = _Read(self._metrics)
        cpu = {"workers": 0.0, "gateway": 0.0, "others": 0.0, **_players()}
        threads: dict[int, float] = {}
        for part, process in self._processes():
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                cpu[part] += _cpu_s(process)
                if part in TITLES:
                    threads |= {each.id: each.user_time + each.system_time for each in process.threads()}
        return Look(time.perf_counter(), read.counted, read.stages_s, read.stages, cpu, threads, _busy_s())

    def _idle(self) -> int:
        """Workers that are loaded and have no session, by the allocator."""
        text = httpx.get(_metrics(self._server.metrics_port), timeout=10).text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return int(sum(s.value for s in samples if s.name == "llc_workers" and s.labels["state"] == "idle"))

    def pids(self) -> dict[str, list[int]]:
        """By part."""
        found = list(self._processes())
        return {part: [process.pid for other, process in found if other == part] for part in TITLES}

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        root = psutil.Process(self._server.process.pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                line = " ".join(process.cmdline())
                yield next((part for part, title in TITLES.items() if line.startswith(title)), "others"), process


class _Read:
    """Series of several processes, summed."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.counted: Counter[str] = Counter()
        self.stages_s: defaultdict[str, float] = defaultdict(float)
        self.stages: Counter[str] = Counter()
        self.cpu_s = 0.0
        for url in urls:
            for family in text_string_to_metric_families(httpx.get(url, timeout=10).raise_for_status().text):
                for sample in family.samples:
                    self._add(sample.name, sample.labels, sample.value)

    def _add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        if name in COUNTED:
            self.counted[COUNTED[name]] += int(value)
        elif name == "llc_chunk_seconds_sum":
            self.stages_s[labels["stage"]] += value
        elif name == "llc_chunk_seconds_count":
            self.stages[labels["stage"]] += int(value)
        elif name == "process_cpu_seconds_total":
            self.cpu_s += value


def _metrics(port: int) -> str:
    return f"http://127.0.0.1:{port}/metrics"


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _players() -> dict[str, float]:
    """CPU seconds of this programme and its processes of players."""
    used = _cpu_s(own := psutil.Process())
    for child in own.children():
        with suppress(psutil.NoSuchProcess):
            used += _cpu_s(child) if PLAYERS in child.cmdline() else 0.0
    return {"players": used}


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
