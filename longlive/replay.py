"""A session again, from the log of its commands: the same plans and, with the same seed and weights, the same pictures.

The log is JSONL, a command per line with the place in the session at which it was applied. No clock is in it, for none
is in a director: what came between the same two boundaries, in the same order, does the same.

    {"boundary": 3, "in_flight": true, "command": "scene_cut", "arguments": {"prompt": "a neon street"}}
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longlive.director import LongLiveDirector, LongLivePlan
from longlive.protocol import COMMANDS
from longlive.schedule import Count
from longlive.spec import FRESH
from models.contract import ChunkResult, Command, Geometry, Stream
from models.media import VideoFrames

_TYPES = {command.wire_name(): command for command in COMMANDS}


class ReplayError(ValueError):
    """The log is not one of a session of this model."""


class Event(BaseModel):
    """A command, and where it was applied."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    boundary: Count = Field(description="Chunks begun before it, over all runs: it came before that boundary.")
    in_flight: bool = Field(description="Whether the chunk begun last had not ended yet.")
    command: str = Field(description="Its name on the wire.")
    arguments: dict[str, Any] = Field(description="Its arguments by their names on the wire.")

    @property
    def place(self) -> tuple[int, bool]:
        """Ascends in a log: a chunk is in flight, then at rest, then the next is begun."""
        return self.boundary, not self.in_flight


class Recorder:
    """Writes the log of a director's life: tell it of every chunk, and of every command when it is applied.

    It may begin with a director that has been restored, but for one whose chunk was lost and is to be made again: that
    chunk's commands are in the log of the director before.
    """

    def __init__(self) -> None:
        self._boundary = 0
        self._in_flight = False

    def began(self) -> None:
        """`begin_chunk` has given a plan."""
        assert not self._in_flight, "the chunk begun last has not ended"
        self._boundary += 1
        self._in_flight = True

    def ended(self) -> None:
        """`end_chunk` was called."""
        assert self._in_flight, "no chunk is begun"
        self._in_flight = False

    def line(self, command: Command) -> str:
        """The line of a command applied now, without its end. It holds prompts: it is no line for a log of ours."""
        event = Event(
            boundary=self._boundary,
            in_flight=self._in_flight,
            command=command.wire_name(),
            arguments=command.model_dump(mode="json"),
        )
        return event.model_dump_json()


@dataclass(frozen=True, slots=True)
class Made:
    """A chunk made again: its plan and its pictures, RGB uint8 [n, height, width, 3], None where no stream made any."""

    plan: LongLivePlan
    frames: NDArray[np.uint8] | None


def read_log(lines: Iterable[str]) -> list[Event]:
    """The events of a log.

    Raises:
        ReplayError: a line is no event, or comes before the line above it; it tells the line's number, and no prompt.
    """
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        try:
            event = Event.model_validate_json(line)
        except ValidationError as error:
            raise ReplayError(f"line {number}: {error}") from None
        if events and event.place < events[-1].place:
            raise ReplayError(f"line {number}: it comes before the line above it")
        events.append(event)
    return events


def replay(
    events: Iterable[Event], director: LongLiveDirector, stream: Stream | None = None, geometry: Geometry = FRESH
) -> Iterator[Made]:
    """Direct the session again, chunk by chunk, until it rests and no event is left. A log does not tell how many
    chunks followed its last event: take as many as are wanted.

    Director and stream are as they were when the log was begun: fresh, or restored from the same snapshot. Without a
    stream the pictures are counted by `geometry`. A chunk that a reset abandoned is made too, as a whole.

    Raises:
        ReplayError: an unknown command, arguments that do not fit it, or a place that the session does not come to.
    """
    waiting, boundary = deque(events), 0
    while True:
        _apply(waiting, director, (boundary, True))
        plan = director.begin_chunk()
        if plan is None:
            break
        boundary += 1
        frames = None if stream is None else _pictures(stream, plan)
        _apply(waiting, director, (boundary, False))
        planned = geometry.first if plan.scene_chunk == 0 else geometry.later
        director.end_chunk(ChunkResult(plan, planned if frames is None else len(frames)))
        yield Made(plan, frames)
    if waiting:
        raise ReplayError(f"the session rests after {boundary} chunks; a command came after {waiting[0].boundary}")


def _apply(waiting: deque[Event], director: LongLiveDirector, place: tuple[int, bool]) -> None:
    while waiting and waiting[0].place == place:
        director.handle(_command(waiting.popleft()))


def _command(event: Event) -> Command:
    declared = _TYPES.get(event.command)
    if declared is None:
        raise ReplayError("unknown command")
    try:
        return declared.model_validate(event.arguments)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, e["loc"])) for e in error.errors(include_input=False, include_url=False))
        raise ReplayError(f"{event.command}: these arguments do not fit: {wrong}") from None


def _pictures(stream: Stream, plan: LongLivePlan) -> NDArray[np.uint8]:
    stream.prepare(plan)
    media = list(stream.decode(stream.generate({})))
    stream.commit()
    return np.concatenate([part.rgb for part in media if isinstance(part, VideoFrames)])
