"""One step of the load: so many sessions, a window in which they are measured, and what limited them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load import arrivals
from benchmarks.load.crowd import Crowd, parts
from benchmarks.load.figures import LEAST_S, WARM_S, Span, Viewed
from benchmarks.load.playback import Picture
from benchmarks.load.seen import Job, Seen
from benchmarks.load.target import Look, Target
from benchmarks.load.trace import CHUNK_S, BadTrace, Trace

LEAD_S = 0.5
"""From the job to the first arrival."""
MET = 0.99
"""The share of chunks that must meet their deadline."""
FULL = 0.9
"""What is busy for so much of the time is full."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a step goes. `sessions` come at `per_s` a second on the mean and stay until its end; with None as many come
    as come, and each stays for the length of the trace. Raises BadTrace where that is too short."""

    trace: Trace
    sessions: int | None
    per_s: float
    seconds: float
    viewers: int = 0
    codec: str | None = None
    buffer_s: float = 0.2
    per_process: int = 2
    seed: int = 1

    @property
    def is_open(self) -> bool:
        """Whether sessions come and go."""
        return self.sessions is None

    @property
    def settling_s(self) -> float:
        """From the first arrival until as many go as come, and those that are there are warm."""
        return self.trace.seconds + WARM_S

    def __post_init__(self) -> None:
        if self.is_open and self.trace.seconds < WARM_S + LEAST_S:
            raise BadTrace(f"{self.trace.name}: sessions of {self.trace.seconds:g} s end while they warm up")

    def arrivals(self) -> list[float]:
        """When sessions come, in seconds from the beginning."""
        if self.sessions is None:
            return arrivals.within(self.settling_s + self.seconds, self.per_s, self.seed)
        return arrivals.first(self.sessions, self.per_s, self.seed)


@dataclass(frozen=True, slots=True)
class Used:
    """Of the window: chunks by the server's metrics (none where it has none), cores by part, means of a chunk's stages
    in seconds, the busiest thread's share of a core, the machine's share that was busy, and its load average."""

    chunks: int
    missed: int
    encoder_waits: int
    cores: dict[str, float]
    stages_s: dict[str, float]
    thread: float
    machine: float
    load: float

    @classmethod
    def between(cls, before: Look, after: Look) -> Used:
        """Two looks."""
        seconds = after.at - before.at
        counted, stages = after.counted - before.counted, after.stages - before.stages
        spent = {part: (used - before.cpu_s.get(part, 0.0)) / seconds for part, used in after.cpu_s.items()}
        threads = [used - before.threads_s.get(thread, 0.0) for thread, used in after.threads_s.items()]
        took = {stage: (after.stages_s[stage] - before.stages_s.get(stage, 0.0)) / n for stage, n in stages.items()}
        return cls(
            chunks=counted["chunks"],
            missed=counted["missed"],
            encoder_waits=counted["encoder_waits"],
            cores=spent,
            stages_s=took,
            thread=max(threads, default=0.0) / seconds,
            machine=(after.busy_s - before.busy_s) / seconds / (os.cpu_count() or 1),
            load=os.getloadavg()[0],
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What came of it. `kept` are the first director's pictures of the window, to be drawn."""

    setting: str
    round: int
    sessions: int
    seconds: float
    viewed: Viewed
    used: Used
    kept: tuple[Picture, ...] = ()
    profile: list[dict[str, Any]] = field(default_factory=list)
    cores: int = 0
    """That the cluster was kept to; 0 is all."""

    @property
    def met(self) -> float | None:
        """Share of the chunks that met their deadline, by the server's metrics."""
        return 1 - self.used.missed / self.used.chunks if self.used.chunks else None

    @property
    def met_by_strip(self) -> float | None:
        """The same, as it was seen."""
        return 1 - self.viewed.late / self.viewed.boundaries if self.viewed.boundaries else None

    @property
    def is_good(self) -> bool:
        """Enough chunks met it, by the metrics where there are any, and nobody failed."""
        share = self.met_by_strip if self.met is None else self.met
        return share is not None and share >= MET and not self.viewed.failures

    @property
    def cluster_cores(self) -> float:
        """Cores that the cluster took, the players aside."""
        return sum(used for part, used in self.used.cores.items() if part != "players")

    @property
    def strangers(self) -> float:
        """Cores that programmes of nobody here took."""
        return max(0.0, self.used.machine * (os.cpu_count() or 1) - sum(self.used.cores.values()))


def limit(step: Step) -> str:
    """What a step was limited by: the first of these that was full."""
    used, cores = step.used, os.cpu_count() or 1
    if step.viewed.failures:
        return f"sessions failed: {step.viewed.failures[0]}"
    took = sorted([*used.cores.items(), ("other programmes", step.strangers)], key=lambda each: -each[1])
    shares = ", ".join(f"{part} {spent:.2f}" for part, spent in took)
    if used.machine >= FULL:
        return f"CPU of the machine, {used.machine:.0%} of {cores} cores busy ({shares})"
    if step.cores and step.cluster_cores >= FULL * step.cores:
        return f"CPU of what the cluster is kept to, {step.cluster_cores / step.cores:.0%} of {step.cores} ({shares})"
    if used.thread >= FULL:
        return f"one thread of the cluster, {used.thread:.0%} of a core busy"
    if used.stages_s.get("total", 0.0) > CHUNK_S:
        return f"the model: a chunk takes {used.stages_s['total']:.2f} s and plays for {CHUNK_S:.2f} s"
    return f"nothing was full (machine {used.machine:.0%}, busiest thread {used.thread:.0%} of a core)"


Profiled = Callable[[], list[dict[str, Any]]]


async def run(target: Target, plan: Plan, setting: str, number: int, profiled: Profiled | None = None) -> Step:
    """Play it. With `profiled` that is called once the window is over, while all still play."""
    await asyncio.to_thread(target.free)
    times = plan.arrivals()
    crowd = await Crowd.ready(-(-len(times) // plan.per_process), target.key)
    try:
        begin = time.perf_counter() + LEAD_S
        playing = parts(times, begin, plan.trace.seconds if plan.is_open else None)
        job = Job(url=target.url, trace=plan.trace, codec=plan.codec, viewers=plan.viewers, parts=playing)
        await crowd.play(job)
        if plan.is_open:
            await asyncio.sleep(begin + plan.settling_s - time.perf_counter())
        else:
            await crowd.begun(len(times))
            await asyncio.sleep(WARM_S)
        before = await asyncio.to_thread(target.look)
        await asyncio.sleep(plan.seconds)
        after = await asyncio.to_thread(target.look)
        profile = await asyncio.to_thread(profiled) if profiled else []
        seen = await crowd.leave()
    finally:
        await crowd.stop()
    window = Span(before.at, after.at)
    viewed, used = Viewed.of(seen, window, plan.buffer_s), Used.between(before, after)
    return Step(setting, number, len(times), window.seconds, viewed, used, _kept(seen, window), profile, target.cores)


def _kept(seen: Sequence[Seen], window: Span) -> tuple[Picture, ...]:
    first = next((each for each in seen if each.role == "director" and each.pictures), None)
    return tuple(picture for picture in first.pictures if picture[0] in window) if first else ()
