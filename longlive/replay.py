"""A session again, from its log (`models.events`): the same plans and, with the same weights, the same pictures.

    python -m longlive.replay events.jsonl

makes every chunk of the log again and compares its pictures with those that were recorded, bit for bit. On a CPU they
are the same; a GPU, other kernels or another version of torch may round differently.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from pydantic import ValidationError

from longlive.director import LongLiveDirector, LongLivePlan
from longlive.plug import LongLive
from longlive.presets import find
from longlive.protocol import COMMANDS
from models.contract import ChunkResult, Command, CommandError, Stream
from models.events import ChunkMade, CommandApplied, EventLogError, Opened, Truncated, decode, described, sampled
from models.media import VideoFrames

MODEL = "longlive-v2"

_TYPES = {command.wire_name(): command for command in COMMANDS}

app = typer.Typer()


class ReplayError(EventLogError):
    """The log is not one of a session of this model. The text quotes no prompt."""


@dataclass(frozen=True, slots=True)
class Log:
    """What of a log makes the session again."""

    opened: Opened
    commands: tuple[CommandApplied, ...]
    chunks: tuple[ChunkMade, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Made:
    """A chunk made again: its plan, its pictures (RGB uint8 [n, height, width, 3], None where no stream made any), and
    what the log has of it."""

    plan: LongLivePlan
    frames: NDArray[np.uint8] | None
    recorded: ChunkMade

    @property
    def same(self) -> bool:
        """Whether it is the recorded one: by its plan and, where there are pictures, bit for bit."""
        pictures = self.frames is None or hashlib.sha256(sampled(self.frames)).hexdigest() == self.recorded.digest
        return pictures and described(self.plan) == self.recorded.plan


def read_log(lines: Iterable[str | bytes]) -> Log:
    """The log of a session of this model.

    Raises:
        EventLogError: a line is no event, or comes before its place.
        ReplayError: it is the log of another model, or its beginning is missing.
    """
    opened, *events = decode(lines)
    assert isinstance(opened, Opened), "decode sees to it"
    if opened.model != MODEL:
        raise ReplayError(f"the log is one of {opened.model}, not of {MODEL}")
    if opened.restored and opened.state is None:
        raise ReplayError("the session went on from a snapshot that was too large to be kept in the log")
    return Log(
        opened,
        tuple(event for event in events if isinstance(event, CommandApplied)),
        tuple(event for event in events if isinstance(event, ChunkMade)),
        any(isinstance(event, Truncated) for event in events),
    )


def replay(log: Log, director: LongLiveDirector, stream: Stream | None = None) -> Iterator[Made]:
    """Direct the session again, chunk by chunk, as far as its chunks were completed. Director and stream are fresh.

    Without a stream there are plans and no pictures. A chunk that a reset abandoned is made too, as a whole.

    Raises:
        ReplayError: an unknown command, arguments that do not fit it, another answer to it, or a place that the session
            does not come to; or the snapshot that the log begins with is not one of this model, version and preset.
    """
    _restore(log.opened, director, stream)
    waiting = deque(log.commands)
    for boundary, recorded in enumerate(log.chunks, start=1):
        _apply(waiting, director, (boundary - 1, True))
        plan = director.begin_chunk()
        if plan is None or recorded.boundary != boundary:
            raise ReplayError(f"the session does not come to chunk {recorded.boundary} of the log")
        frames = None if stream is None else _pictures(stream, plan)
        _apply(waiting, director, (boundary, False))
        director.end_chunk(ChunkResult(plan, recorded.frames))
        yield Made(plan, frames, recorded)
    _apply(waiting, director, (len(log.chunks), True))
    if any(event.place > (len(log.chunks) + 1, False) for event in waiting):  # of the chunk begun last alone
        raise ReplayError(f"the log has {len(log.chunks)} chunks; a command came after {waiting[-1].boundary}")


def _restore(opened: Opened, director: LongLiveDirector, stream: Stream | None) -> None:
    if opened.state is None:
        return
    try:
        director.restore(opened.state.director)
        if stream is not None and opened.state.stream:
            stream.restore(opened.state.stream)
    except ValueError as error:
        reason = "its director's state is not one" if isinstance(error, ValidationError) else str(error)
        raise ReplayError(f"the snapshot that the log begins with cannot be taken up: {reason}") from None


def _apply(waiting: deque[CommandApplied], director: LongLiveDirector, place: tuple[int, bool]) -> None:
    """Handle the commands that came at a place, and make sure that none was to come before."""
    while waiting and waiting[0].place <= place:
        event = waiting.popleft()
        if event.place != place:
            raise ReplayError(f"no chunk is in flight where {event.type} came")
        messages = director.handle(_command(event))
        if isinstance(messages[-1], CommandError) == event.accepted:
            raise ReplayError(f"{event.type} is {'refused' if event.accepted else 'accepted'} now, and was not then")


def _command(event: CommandApplied) -> Command:
    declared = _TYPES.get(event.type)
    if declared is None:
        raise ReplayError("unknown command")
    try:
        return declared.model_validate(event.data)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, e["loc"])) for e in error.errors(include_input=False, include_url=False))
        raise ReplayError(f"{event.type}: these arguments do not fit: {wrong}") from None


def _pictures(stream: Stream, plan: LongLivePlan) -> NDArray[np.uint8]:
    stream.prepare(plan)
    media = list(stream.decode(stream.generate({})))
    stream.commit()
    return np.concatenate([part.rgb for part in media if isinstance(part, VideoFrames)])


@app.command()
def main(
    path: Annotated[Path, typer.Argument(metavar="LOG", help="The log of a session.", exists=True, dir_okay=False)],
    weights: Annotated[Path | None, typer.Option(help="Folder of checkpoints; a log has its last part alone.")] = None,
    device: Annotated[str, typer.Option(help="Where to make the chunks.")] = "cpu",
) -> None:
    """Make the chunks of a log again and compare them. Exits 1 when one is another, 2 for what is no log."""
    try:
        with path.open("rb") as file:
            log = read_log(file)
        options = log.opened.options | ({} if weights is None else {"weights": str(weights)})
        model = LongLive(find(log.opened.preset, **options))
        made = replay(log, model.director(), model.load(device).open())
        others = sum(not _told(chunk) for chunk in made)
    except ValueError as error:
        typer.echo(f"{path}: {error}", err=True)
        raise typer.Exit(2) from None
    cut = "; the log was truncated there" if log.truncated else ""
    typer.echo(f"{len(log.chunks)} chunks, {others or 'none'} of them not as recorded{cut}")
    raise typer.Exit(1 if others else 0)


def _told(made: Made) -> bool:
    plan = made.plan
    verdict = "as recorded" if made.same else "not as recorded"
    typer.echo(f"run {plan.run}, chunk {plan.chunk}, {plan.kind}, {made.recorded.frames} pictures: {verdict}")
    return made.same


if __name__ == "__main__":
    app()
