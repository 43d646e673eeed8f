"""A scheduler whose playout, sound, director and model a test has in hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cluster.arbiter import Arbiter
from cluster.load import Load
from cluster.meters import ChunkMeter
from cluster.scheduler import Scheduler
from cluster.seat import Seat
from models.contract import ChunkPlan, ChunkResult, Geometry, Message, ModelSpec, Track, VideoFormat
from models.media import AudioSamples, Inputs, Media, VideoFrames
from tests.support.waiting import eventually, settle

FPS, FRAMES = 10, 20
CHUNK_S = FRAMES / FPS
SPEC = ModelSpec(
    name="scripted",
    description="A model for tests.",
    tracks=(Track("main_video", "video", "out", VideoFormat(16, 16, FPS)), Track("main_audio", "audio", "out")),
    commands=(),
    messages=(),
    geometry=Geometry(FRAMES, FRAMES),
)


class Begun(Message):
    run: int
    chunk: int
    prompt: str


class Ended(Message):
    chunk: int
    frames: int


class Playout:
    """A queue that drains when the test says so."""

    def __init__(self) -> None:
        self.queued = 0
        self.pushed: list[int] = []
        self.most_s = 0.0
        self._changed = asyncio.Event()

    @property
    def queued_s(self) -> float:
        return self.queued / FPS

    @property
    def lead_s(self) -> float:
        return self.queued_s

    def push(self, rgb: np.ndarray) -> None:
        self.pushed += [int(picture[0, 0, 0]) for picture in rgb]
        self.queued += len(rgb)
        self.most_s = max(self.most_s, self.queued_s)

    async def wait_below(self, seconds: float) -> None:
        while self.queued_s > seconds:
            self._changed.clear()
            await self._changed.wait()

    def flush(self) -> None:
        self.queued = 0
        self._changed.set()

    def play(self, seconds: float) -> None:
        self.queued = max(0, self.queued - round(seconds * FPS))
        self._changed.set()


class Sound:
    def __init__(self) -> None:
        self.samples = 0

    def push(self, pcm: np.ndarray, rate: int) -> None:
        self.samples += len(pcm)


class Director:
    """Generates while `prompt` is set and asserts that every chunk begun is ended."""

    def __init__(self) -> None:
        self.run = 0
        self.prompt = ""
        self.done = 0
        self.asked = 0
        self._open: ChunkPlan | None = None

    def begin_chunk(self) -> ChunkPlan | None:
        assert self._open is None, "two chunks at a time"
        self.asked += 1
        if not self.prompt:
            return None
        said = (Begun(run=self.run, chunk=self.done, prompt=self.prompt),)
        self._open = ChunkPlan(run=self.run, chunk=self.done, messages=said)
        return self._open

    def end_chunk(self, result: ChunkResult) -> list[Message]:
        assert result.plan is self._open
        self._open = None
        if result.plan.run != self.run:
            return []
        self.done += 1
        return [Ended(chunk=result.plan.chunk, frames=result.frames)]


class Stream:
    """Ten times two pictures a chunk, numbered by chunk. The test may hold it inside a verb, or have it fail there."""

    def __init__(self) -> None:
        self.verbs: list[str] = []
        self.threads: set[int] = set()
        self.inputs: list[Inputs] = []
        self.fail_in = ""
        self.closed = False
        self._chunk = 0
        self._gates: dict[str, threading.Event] = {}
        self.inside: set[str] = set()

    def hold(self, verb: str) -> threading.Event:
        """Stop at the beginning of a verb until the event is set."""
        return self._gates.setdefault(verb, threading.Event())

    def _verb(self, name: str) -> None:
        assert not self.closed, "the stream was closed under a chunk"
        self.verbs.append(name)
        self.threads.add(threading.get_ident())
        self.inside.add(name)
        if (gate := self._gates.get(name)) is not None:
            assert gate.wait(10)
        if self.fail_in == name:
            raise ArithmeticError(name)
        self.inside.remove(name)

    def prepare(self, plan: ChunkPlan) -> None:
        self._verb("prepare")
        self._chunk = plan.chunk

    def generate(self, inputs: Inputs) -> Any:
        self._verb("generate")
        self.inputs.append(inputs)
        return self._chunk

    def decode(self, latents: int) -> Iterator[Media]:
        for part in range(FRAMES // 2):
            self._verb(f"decode {part}")
            yield VideoFrames("main_video", np.full((2, 16, 16, 3), latents, np.uint8))
        yield AudioSamples("main_audio", np.zeros((480, 1), np.int16), 48_000)

    def commit(self) -> None:
        self._verb("commit")

    def snapshot(self, *, exact: bool = False) -> bytes:
        return b"all" if exact else bytes(self.verbs.count("commit"))

    def restoring(self, state: bytes) -> Iterator[None]:
        for letter in state.decode():
            self._verb(f"restore {letter}")
            yield

    def close(self) -> None:
        self.closed = True


class Work:
    """What was said of the work, and by how much the chunks were of any length."""

    def __init__(self) -> None:
        self.said: list[bool | int] = []
        self.busy_s = 0.0

    def playing(self, playing: bool) -> None:
        self.said.append(playing)

    def made(self, frames: int, busy_s: float) -> None:
        self.said.append(frames)
        self.busy_s += busy_s


class Device:
    """What benches share: one chunk at a time, and room for `most` of them."""

    def __init__(self, most: int = 2) -> None:
        self.arbiter, self.executor = Arbiter(), ThreadPoolExecutor(2)
        self.told = 0
        self.load = Load("scripted", CHUNK_S, bound=0.9, most=most, changed=self._changed)

    def _changed(self) -> None:
        self.told += 1


DECODE_VERBS = [f"decode {part}" for part in range(FRAMES // 2)]


def in_order(verbs: list[str], chunks: int) -> bool:
    """Chunk after chunk: prepare, generate, then the decoding in its order, and a commit somewhere beside it."""
    size = len(DECODE_VERBS) + 3
    if len(verbs) != chunks * size:
        return False
    made = [verbs[start : start + size] for start in range(0, len(verbs), size)]
    return all(
        chunk[:2] == ["prepare", "generate"]
        and [verb for verb in chunk[2:] if verb != "commit"] == DECODE_VERBS
        and "commit" in chunk[2:]
        for chunk in made
    )


class Bench:
    """A scheduler with everything around it."""

    def __init__(self, device: Device, offload_after_s: float | None) -> None:
        self.playout, self.sound, self.work = Playout(), Sound(), Work()
        self.director = Director()
        self.streams: list[Stream] = []
        self.said: list[Message] = []
        self.completed = 0
        self.state = b""
        self.input: Inputs = {}
        self.seat = Seat("scripted", self._open, load=device.load, arbiter=device.arbiter, executor=device.executor)
        self.scheduler = Scheduler(
            SPEC,
            self.director,
            self.seat,
            video={"main_video": self.playout},
            audio={"main_audio": self.sound},
            inputs=lambda: self.input,
            meter=ChunkMeter(SPEC.name, "a session"),
            work=self.work,
            broadcast=self.said.extend,
            completed=self._complete,
            due=lambda: bool(self.director.prompt),
            offload_after_s=offload_after_s,
        )
        self.task = asyncio.create_task(self.scheduler.run())

    @property
    def stream(self) -> Stream:
        """The one opened last."""
        return self.streams[-1]

    def _open(self) -> Stream:
        self.streams.append(Stream())
        return self.stream

    def _complete(self, state: bytes) -> None:
        self.completed += 1
        self.state = state

    def direct(self, prompt: str) -> None:
        self.director.prompt = prompt
        self.scheduler.wake()

    def reset(self) -> None:
        """What a session does when the director's run changes."""
        self.director.run += 1
        self.scheduler.flush()
        self.scheduler.wake()

    async def chunks(self, count: int) -> None:
        await eventually(lambda: self.completed >= count)
        await settle()

    def begun(self) -> list[int]:
        return [message.chunk for message in self.said if isinstance(message, Begun)]

    async def stop(self) -> None:
        for gate in self.stream._gates.values():
            gate.set()
        self.task.cancel()
        await asyncio.wait([self.task])
