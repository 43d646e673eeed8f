"""Short words for tests that direct a session."""

from __future__ import annotations

import json
from collections.abc import Iterable

from longlive.director import LongLiveDirector, LongLivePlan
from longlive.protocol import MoveBeat, SetShot, Start, State
from longlive.spec import FRESH
from models.contract import ChunkResult, Command, CommandError, Message

FRAMES = FRESH.first


def started(prompt: str = "opening", *before_start: Command) -> LongLiveDirector:
    director = LongLiveDirector()
    give(director, SetShot(prompt=prompt), *before_start, Start())
    return director


def move(at: int, to: int) -> MoveBeat:
    """The command as it comes from the wire: `from` is no name for a Python argument."""
    return MoveBeat.model_validate({"from": at, "to": to})


def give(director: LongLiveDirector, *commands: Command) -> list[Message]:
    """Send commands that must be accepted; what the last one answers."""
    answer: list[Message] = []
    for command in commands:
        answer = list(director.handle(command))
        assert not any(isinstance(m, CommandError) for m in answer), answer
    return answer


def refused(director: LongLiveDirector, command: Command) -> str:
    """Send a command that must be refused and change nothing; the reason."""
    before = director.snapshot()
    (answer,) = director.handle(command)
    assert isinstance(answer, CommandError)
    assert answer.command == command.wire_name()
    assert director.snapshot() == before
    return answer.reason


def begin(director: LongLiveDirector) -> LongLivePlan:
    plan = director.begin_chunk()
    assert plan is not None
    return plan


def end(director: LongLiveDirector, plan: LongLivePlan, frames: int = FRAMES) -> list[Message]:
    return list(director.end_chunk(ChunkResult(plan, frames)))


def play(director: LongLiveDirector, chunks: int = 1) -> list[Message]:
    """Make whole chunks; what the end of the last one says."""
    said: list[Message] = []
    for _ in range(chunks):
        said = end(director, begin(director))
    return said


def state(director: LongLiveDirector) -> State:
    message, *_ = director.connect()
    assert isinstance(message, State)
    return message


def names(messages: Iterable[Message]) -> list[str]:
    return [m.wire_name() for m in messages]


def moved(director: LongLiveDirector) -> LongLiveDirector:
    """The session on another worker: a fresh director with the snapshot that went through JSON."""
    other = LongLiveDirector()
    other.restore(json.loads(json.dumps(director.snapshot())))
    return other
