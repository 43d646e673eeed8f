"""`numbered`: the pictures of the comparison as a model of this cluster. Found through `plugin/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.peers.pictures import FPS, HEIGHT, WIDTH, picture
from models.contract import ChunkPlan, ChunkResult, Command, Geometry, Message, ModelSpec, Track, VideoFormat
from models.files import Upload
from models.media import Inputs, Media, VideoFrames

NAME = "numbered"


class Director:
    """One picture after another; there is nothing to direct."""

    run = 0

    def __init__(self) -> None:
        self._number = 0

    def connect(self) -> Sequence[Message]:
        return []

    def handle(self, command: Command) -> Sequence[Message]:
        return []

    def begin_chunk(self) -> ChunkPlan:
        return ChunkPlan(run=self.run, chunk=self._number)

    def end_chunk(self, result: ChunkResult) -> Sequence[Message]:
        self._number += 1
        return []

    def snapshot(self) -> dict[str, Any]:
        return {"number": self._number}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._number = state["number"]

    def contents(self) -> Sequence[str | Upload]:
        return []


class Stream:
    """Has no memory; a chunk is one picture."""

    def prepare(self, plan: ChunkPlan) -> None:
        self._number = plan.chunk

    def generate(self, inputs: Inputs) -> int:
        return self._number

    def decode(self, latents: int) -> Iterator[Media]:
        yield VideoFrames("main_video", picture(latents)[None])

    def commit(self) -> None: ...

    def snapshot(self, *, exact: bool = False) -> bytes:
        return b""

    def restore(self, state: bytes) -> None: ...

    def restoring(self, state: bytes) -> Iterator[None]:
        return iter(())

    def contents(self, state: bytes) -> Sequence[str | Upload]:
        return []

    def close(self) -> None: ...


class Replica:
    """There is nothing to load but the loop of pictures."""

    facts: Mapping[str, str] = {}

    def trial(self) -> float:
        return 0.0

    def open(self) -> Stream:
        return Stream()


class Model:
    """The plug."""

    spec = ModelSpec(
        name=NAME,
        description="Numbered pictures.",
        tracks=(Track("main_video", "video", "out", VideoFormat(WIDTH, HEIGHT, FPS)),),
        commands=(),
        messages=(),
        geometry=Geometry(1, 1),
    )

    def director(self) -> Director:
        return Director()

    def check(self, device: str) -> None: ...

    def load(self, device: str) -> Replica:
        picture(0)
        return Replica()


def model(preset: str, **options: Any) -> Model:
    """The factory of the entry point."""
    return Model()
