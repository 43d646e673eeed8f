"""What a model fulfils to be served.

A `Model` is found by name through `models.registry`. It declares itself in a `ModelSpec` (cheap to make, no weights),
makes a pure `Director` per session, and loads one `Replica` per worker, from which each session opens a `Stream`.

    command ──► Director.handle ──► messages
    boundary ─► Director.begin_chunk ──► ChunkPlan ──► Stream.prepare, generate, decode, commit
                Director.end_chunk ◄── ChunkResult
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_snake

from models.files import Upload
from models.media import Inputs, Media


class _Declared(BaseModel):
    """A command or message type; its wire name is the snake case of the class name, its summary the docstring."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def wire_name(cls) -> str:
        """The `type` on the wire: `SetShot` is `set_shot`."""
        return to_snake(cls.__name__)


class DeviceLost(RuntimeError):
    """The device, or the memory on it, has failed: nothing on this replica can go on, but on another one it can.

    A model raises it from the verbs of a stream. Any other exception of a verb ends the session, for it would follow it
    to the next replica.
    """


class Command(_Declared):
    """Base of a model's commands. Fields are the arguments; validation is strict and refuses unknown arguments."""


class Message(_Declared):
    """Base of a model's messages."""


class CommandError(Message):
    """Emitted when a command is rejected because preconditions are not met."""

    command: str
    reason: str


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """Geometry of a video track in pixels and frames per second."""

    width: int
    height: int
    fps: int


@dataclass(frozen=True, slots=True)
class Track:
    """A media track, from the model's point of view: `out` is what the model produces. Outbound video has a format."""

    name: str
    kind: Literal["video", "audio"]
    direction: Literal["in", "out"]
    video: VideoFormat | None = None


@dataclass(frozen=True, slots=True)
class Geometry:
    """Pictures of a chunk on the main track: of the first chunk of a scene, and of each later one."""

    first: int
    later: int

    def frames(self, chunks: int) -> int:
        """Pictures of the first `chunks` chunks of a scene."""
        return self.first + (chunks - 1) * self.later if chunks else 0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All that the rest of the system may know of a model without loading it."""

    name: str
    description: str
    tracks: tuple[Track, ...]
    commands: tuple[type[Command], ...]
    messages: tuple[type[Message], ...]
    geometry: Geometry
    version: str = "v0.0.0"

    def command_types(self) -> Mapping[str, type[Command]]:
        """Command types by wire name."""
        return {c.wire_name(): c for c in self.commands}

    @property
    def main_video(self) -> Track:
        """The outbound video track whose playout clock paces generation."""
        return next(t for t in self.tracks if t.kind == "video" and t.direction == "out")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPlan:
    """What the next chunk shall be; a model's own plan subclasses it.

    `run` tells a plan of an abandoned run from one of the present run; `messages` are broadcast before generation.
    """

    run: int
    chunk: int
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What came of a plan: the pictures emitted on the main track (0 when generation was abandoned)."""

    plan: ChunkPlan
    frames: int


class Director(Protocol):
    """The pure state machine of one session: no clock, socket, tensor or logger inside."""

    def connect(self) -> Sequence[Message]:
        """Messages owed to a connection that has just opened."""
        ...

    def handle(self, command: Command) -> Sequence[Message]:
        """Apply a valid command, or refuse it: then `CommandError` is the last message and nothing has changed."""
        ...

    def begin_chunk(self) -> ChunkPlan | None:
        """Cross a chunk boundary. None while there is nothing to generate; otherwise `end_chunk` must follow."""
        ...

    def end_chunk(self, result: ChunkResult) -> Sequence[Message]:
        """Close the chunk begun last. A result of an abandoned run changes nothing and says nothing."""
        ...

    @property
    def run(self) -> int:
        """Identity of the present run; a change tells the session to drop what it has queued."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """JSON-safe state between chunks; an open chunk is not part of it."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the state of a snapshot; raises ValueError when it is not one of this model and version."""
        ...

    def contents(self) -> Sequence[str | Upload]:
        """All that clients have said and shown and that is still in it: prompts and files, for moderation."""
        ...


class Stream(Protocol):
    """One session's generation state on a loaded replica. The verbs come in this order, each from one thread:
    `prepare`, `generate`, `decode`, `commit`; what `decode` has returned may be exhausted while `commit` runs on a
    second thread. Both end before the next `prepare`."""

    def prepare(self, plan: ChunkPlan) -> None:
        """Take the conditions of the next chunk."""
        ...

    def generate(self, inputs: Inputs) -> Any:
        """Make the chunk's latents (opaque to the caller)."""
        ...

    def decode(self, latents: Any) -> Iterator[Media]:
        """Yield the chunk's media in order, the first as early as possible."""
        ...

    def commit(self) -> None:
        """Make the chunk part of the memory that later chunks see."""
        ...

    def snapshot(self, *, exact: bool = False) -> bytes:
        """State that lets another replica go on; empty where there is none.

        It is asked for after every chunk, and may be close instead of exact to be small and quick to restore. `exact`
        asks for all that there is to go on from, for a move that is planned.
        """
        ...

    def restore(self, state: bytes) -> None:
        """Take the state of a snapshot."""
        ...

    def restoring(self, state: bytes) -> Iterator[None]:
        """The same in steps, of which none is more work than a chunk: between two, others may use the device. They may
        be taken from several threads, one after the other."""
        ...

    def contents(self, state: bytes) -> Sequence[str | Upload]:
        """What clients have said and shown and that is in the state of a snapshot, for moderation; needs no device.

        Raises:
            ValueError: not a snapshot of this model and version.
        """
        ...

    def close(self) -> None:
        """Free the stream's memory."""
        ...


class Replica(Protocol):
    """A model loaded on a device."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What was found or chosen while loading, for the log."""
        ...

    def trial(self) -> float:
        """Make a chunk for nobody: the seconds that one costs the device. Asked once, where sessions will share it."""
        ...

    def open(self) -> Stream:
        """A fresh stream."""
        ...


class Model(Protocol):
    """The plug: what an entry point of the group `longlive_cluster.models` returns."""

    spec: ModelSpec

    def director(self) -> Director:
        """A fresh director, as a session has it before its first command."""
        ...

    def check(self, device: str) -> None:
        """Whether `load` can be expected to succeed there, told without reading weights.

        Raises:
            ValueError: it will fail; the text says why.
        """
        ...

    def load(self, device: str) -> Replica:
        """Load weights onto `device` (`cpu`, `cuda:0`). Slow; called once in a worker's life.

        Raises:
            ValueError: the weights, or the device, will not do; the text says what and how much.
        """
        ...
