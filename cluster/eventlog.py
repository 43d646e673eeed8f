"""Writes the log of a session (`models.events`) as it happens, from between the session and its model.

`EventLog.director` and `EventLog.stream` stand before the model's own: whatever is put to the director is written down
where it is applied, and the pictures of each chunk are summed up as they are decoded. The log is in memory, within
`MAX_BYTES`; each line goes to `sink` too, which is the recording's sidecar where there is one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.journal import Snapshot
from cluster.records import Grant
from cluster.settings import PoolSettings
from models.contract import ChunkPlan, ChunkResult, Command, CommandError, Director, Message, Stream
from models.events import (
    ChunkMade,
    CommandApplied,
    Event,
    MessageSent,
    Opened,
    State,
    Truncated,
    described,
    encode,
    sampled,
)
from models.files import Upload
from models.media import Inputs, Media, VideoFrames

MAX_BYTES = 32 * 2**20
"""Of a log, its beginning included; a session of LongLive-2.0 takes about 2 MB an hour."""

NO_PICTURES = hashlib.sha256().hexdigest()


class EventLog:
    """See the module. `clock` tells the media time in seconds. Everything but the stream is used in the loop."""

    def __init__(
        self, clock: Callable[[], float], sink: Callable[[bytes], None] | None = None, limit: int = MAX_BYTES
    ) -> None:
        self._clock = clock
        self._sink = sink
        self._room = limit
        self._full = False
        self._lines: list[bytes] = []
        self._early: list[Event] | None = []
        """What came before the first line was written."""
        self._boundary = 0
        self._in_flight = False
        self._digest = NO_PICTURES

    def director(self, director: Director) -> Director:
        """The same, under observation."""
        return _Director(director, self)

    def stream(self, stream: Stream) -> Stream:
        """The same, under observation."""
        return _Stream(stream, self)

    def data(self) -> bytes:
        """The log as it is now."""
        return b"".join(self._lines)

    async def begin(self, opened: Opened) -> None:
        """Write the first line, without a snapshot that would take all the room; it may have megabytes."""
        fits = opened.state is None or 2 * len(opened.state.stream) <= self._room
        first = opened if fits else opened.model_copy(update={"state": None})
        self._append(await asyncio.to_thread(encode, first), first)
        early, self._early = self._early or [], None
        for event in early:
            self.write(event)

    def write(self, event: Event) -> None:
        """Append a line; once there is no more room, the one that says so, and none after it."""
        if self._early is not None:  # clients may be quicker than the session is open
            self._early.append(event)
        elif not self._full:
            self._append(encode(event), event)

    def _append(self, line: bytes, event: Event) -> None:
        self._room -= len(line)
        if self._room < 0:
            self._full, line = True, encode(Truncated(t=event.t))
        self._lines.append(line)
        if self._sink is not None:
            self._sink(line)

    # --- what the director and the stream tell ----------------------------------------------------------------------

    def applied(self, command: Command, messages: Sequence[Message]) -> None:
        """A command was handled, and these are the answers."""
        refused = bool(messages) and isinstance(messages[-1], CommandError)
        applied = CommandApplied(
            t=self._clock(),
            boundary=self._boundary,
            in_flight=self._in_flight,
            type=command.wire_name(),
            data=command.model_dump(mode="json"),
            accepted=not refused,
        )
        self.write(applied)
        self.sent(messages)

    def sent(self, messages: Sequence[Message]) -> None:
        """Every connection is told so."""
        for message in messages:
            data = message.model_dump(mode="json")
            self.write(MessageSent(t=self._clock(), type=message.wire_name(), data=data))

    def began(self, plan: ChunkPlan) -> None:
        """A boundary was crossed."""
        assert not self._in_flight, "the chunk begun last has not ended"
        self._boundary += 1
        self._in_flight, self._digest = True, NO_PICTURES
        self.sent(plan.messages)

    def decoded(self, digest: str) -> None:
        """All pictures of the chunk have been made."""
        self._digest = digest

    def ended(self, result: ChunkResult, messages: Sequence[Message]) -> None:
        """The chunk is closed, and these messages go out."""
        self._in_flight = False
        made = ChunkMade(
            t=self._clock(),
            boundary=self._boundary,
            plan=described(result.plan),
            frames=result.frames,
            digest=self._digest,
        )
        self.write(made)
        self.sent(messages)


def opened(grant: Grant, pool: PoolSettings, snapshot: Snapshot | None) -> Opened:
    """The first line of a session's log, which goes on from a snapshot if there is one."""
    options = {name: Path(value).name if isinstance(value, str) else value for name, value in pool.options.items()}
    return Opened(
        t=0.0,
        session_id=grant.session_id,
        epoch=grant.epoch,
        model=pool.model,
        preset=pool.preset,
        options=options,
        restored=snapshot is not None,
        state=None if snapshot is None else State(director=snapshot.director, stream=snapshot.stream),
    )


class _Director:
    """A `Director` before another one."""

    def __init__(self, director: Director, log: EventLog) -> None:
        self._director = director
        self._log = log

    @property
    def run(self) -> int:
        return self._director.run

    def connect(self) -> Sequence[Message]:
        return self._director.connect()

    def handle(self, command: Command) -> Sequence[Message]:
        messages = self._director.handle(command)
        self._log.applied(command, messages)
        return messages

    def begin_chunk(self) -> ChunkPlan | None:
        plan = self._director.begin_chunk()
        if plan is not None:
            self._log.began(plan)
        return plan

    def end_chunk(self, result: ChunkResult) -> Sequence[Message]:
        messages = self._director.end_chunk(result)
        self._log.ended(result, messages)
        return messages

    def snapshot(self) -> dict[str, Any]:
        return self._director.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._director.restore(state)

    def contents(self) -> Sequence[str | Upload]:
        return self._director.contents()


class _Stream:
    """A `Stream` before another one."""

    def __init__(self, stream: Stream, log: EventLog) -> None:
        self._stream = stream
        self._log = log

    def prepare(self, plan: ChunkPlan) -> None:
        self._stream.prepare(plan)

    def generate(self, inputs: Inputs) -> Any:
        return self._stream.generate(inputs)

    def decode(self, latents: Any) -> Iterator[Media]:
        return self._summed(self._stream.decode(latents))  # at once: `commit` may run beside what is returned

    def commit(self) -> None:
        self._stream.commit()

    def snapshot(self, *, exact: bool = False) -> bytes:
        return self._stream.snapshot(exact=exact)

    def contents(self, state: bytes) -> Sequence[str | Upload]:
        return self._stream.contents(state)

    def restore(self, state: bytes) -> None:
        self._stream.restore(state)

    def restoring(self, state: bytes) -> Iterator[None]:
        return self._stream.restoring(state)

    def close(self) -> None:
        self._stream.close()

    def _summed(self, pieces: Iterator[Media]) -> Iterator[Media]:
        digest = hashlib.sha256()
        for media in pieces:
            yield media  # first: nobody waits for the sum
            if isinstance(media, VideoFrames):
                digest.update(sampled(media.rgb))
        self._log.decoded(digest.hexdigest())
