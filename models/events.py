"""The log of a session: what was put to its director and what came of it, in order. JSON lines, one event each.

    {"kind": "opened", "t": 0.0, "version": 1, "session_id": "6f9a…", "epoch": 1, "model": "longlive-v2", …}
    {"kind": "command", "t": 0.0, "boundary": 0, "in_flight": false, "type": "start", "data": {}, "accepted": true}
    {"kind": "message", "t": 0.0, "type": "state", "data": {"running": true, …}}
    {"kind": "chunk", "t": 0.042, "boundary": 1, "plan": {"run": 1, "chunk": 0, …}, "frames": 29, "digest": "9f86…"}

`t` is media time in seconds. No other clock is in it, for none is in a director: what came between the same two
boundaries, in the same order, does the same. It holds prompts: no line of it is one for a process's own log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.contract import ChunkPlan

Count = Annotated[int, Field(ge=0)]


class EventLogError(ValueError):
    """The lines are not the log of a session. The text tells the line's number, and quotes nothing of it."""


class _Event(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )

    t: float = Field(ge=0, allow_inf_nan=False, description="Seconds of media time.")


class State(BaseModel):
    """What a session went on from: its director's state and its stream's (base64), as in its snapshot."""

    model_config = _Event.model_config

    director: dict[str, Any]
    stream: bytes


class Opened(_Event):
    """The first line: a worker has taken the session."""

    kind: Literal["opened"] = "opened"
    version: Literal[1] = 1
    session_id: str
    epoch: Count
    model: str
    preset: str
    options: dict[str, str | bool | int | float] = Field(
        description="Of the preset, those that were set; a path by its last part."
    )
    restored: bool = Field(description="Whether the session went on from a snapshot.")
    state: State | None = Field(description="That snapshot; null if there is none, or it is too large for a log.")


class CommandApplied(_Event):
    """A valid command, and where it was applied. Files among its arguments are references."""

    kind: Literal["command"] = "command"
    boundary: Count = Field(description="Chunks begun before it, over all runs: it came before that boundary.")
    in_flight: bool = Field(description="Whether the chunk begun last had not ended yet.")
    type: str = Field(description="Its name on the wire.")
    data: dict[str, Any] = Field(description="Its arguments by their names on the wire.")
    accepted: bool = Field(description="Whether the model took it; a refused one has changed nothing.")

    @property
    def place(self) -> tuple[int, bool]:
        """Ascends in a log: a chunk is in flight, then at rest, then the next is begun."""
        return self.boundary, not self.in_flight


class MessageSent(_Event):
    """What the model told every connection."""

    kind: Literal["message"] = "message"
    type: str
    data: dict[str, Any]


class ChunkMade(_Event):
    """A chunk has ended, be it of a run that was abandoned meanwhile."""

    kind: Literal["chunk"] = "chunk"
    boundary: Count = Field(description="Which one it is of those begun, from 1.")
    plan: dict[str, str | bool | int | float | None] = Field(
        description="The model's plan of it, but for files: `run`, `chunk`, and what else it has."
    )
    frames: Count = Field(description="Pictures of it that were given to playout.")
    digest: str = Field(description="SHA-256 of what `sampled` takes of its pictures, in order.")

    @property
    def place(self) -> tuple[int, bool]:
        """See `CommandApplied.place`: from here on the chunk is at rest."""
        return self.boundary, True


class Truncated(_Event):
    """The last line of a log that was too long: what came then is not known."""

    kind: Literal["truncated"] = "truncated"


Event = Opened | CommandApplied | MessageSent | ChunkMade | Truncated

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


_EVERY = 8


def sampled(rgb: NDArray[np.uint8]) -> bytes:
    """Of pictures [n, height, width, 3], one pixel of eight in each direction: what the digest of a chunk is made of.

    All of them would take 50 ms for a chunk of 1280×704. As every pixel comes of the same latents, pictures that
    differ do so in many places.
    """
    return np.ascontiguousarray(rgb[:, ::_EVERY, ::_EVERY]).tobytes()


def described(plan: ChunkPlan) -> dict[str, Any]:
    """What a log holds of a plan: its fields that are text, numbers or nothing."""
    found = {field.name: getattr(plan, field.name) for field in fields(plan)}
    return {name: value for name, value in found.items() if value is None or isinstance(value, str | int | float)}


def encode(event: Event) -> bytes:
    """The event's line, with its end."""
    return _EVENT.dump_json(event) + b"\n"


def decode(lines: Iterable[str | bytes]) -> Iterator[Event]:
    """The events of a log.

    Raises:
        EventLogError: a line is no event, the first one does not open the log, or one comes before its place.
    """
    place, number, last = (0, False), 0, None
    for number, line in enumerate(lines, start=1):
        event = _event(number, line)
        if isinstance(event, Opened) != (number == 1):
            raise EventLogError(f"line {number}: a log begins with the line `opened`, and has one of them")
        if isinstance(last, Truncated):
            raise EventLogError(f"line {number}: it comes after the log's end")
        if isinstance(event, CommandApplied | ChunkMade):
            if event.place < place:
                raise EventLogError(f"line {number}: it comes before what is above it")
            place = event.place
        last = event
        yield event
    if not number:
        raise EventLogError("the log is empty")


def _event(number: int, line: str | bytes) -> Event:
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)[0]
        known = found["loc"] if found["type"] != "extra_forbidden" else found["loc"][:-1]
        where = ".".join(map(str, known))
        raise EventLogError(f"line {number} is no event: {found['type']}{' at ' + where if where else ''}") from None
