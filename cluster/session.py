"""One session in a worker's slot: connections around a director, a stream and their outputs.

Commands reach the director in arrival order; its messages go to every open connection, replies to the asker only. The
scheduler generates; the journal keeps Redis up to date. Timers end a session that nobody comes to, or comes back to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from redis.exceptions import RedisError

from cluster import metrics
from cluster.arbiter import Arbiter
from cluster.attachments import Attachments
from cluster.commands import Dispatch
from cluster.connections import Connections
from cluster.dialogue import Dialogue
from cluster.errors import NotFound
from cluster.eventlog import EventLog, opened
from cluster.journal import Journal, Snapshot
from cluster.load import Load
from cluster.media.connection import Connection
from cluster.media.output import AudioOutput, VideoOutput
from cluster.media.recorder import Recorder
from cluster.meters import ChunkMeter, OutputMeter
from cluster.moderation.contents import contents_of
from cluster.moderation.gate import Gate
from cluster.moderation.screen import Screen
from cluster.publishers import Publishers
from cluster.records import Grant, Move
from cluster.scheduler import Scheduler
from cluster.seat import Seat
from cluster.settings import PoolSettings, Settings
from cluster.store import Store
from cluster.tasks import Tasks
from models.contract import DeviceLost, Model, Stream
from wire.frames import (
    ClientMessage,
    ModelMessage,
)
from wire.http import FLAT_CONNECTION_ID, SessionState

log = structlog.get_logger(__name__)

FENCED = "moved to another worker"
MODERATED = "moderation"
UNMODERATED = "moderation unavailable"
UNUSABLE = "snapshot unusable"
OTHER_VERSION = "snapshot of another version"
UNOPENED = "could not be opened"
OUR_FAULT = ("generation failed", UNUSABLE, UNOPENED)
"""Reasons for which a session is lost, and not over."""


class Session:
    """A session that this worker owns under one epoch. Make it inside a running loop, then `open` it."""

    def __init__(
        self,
        grant: Grant,
        pool: PoolSettings,
        model: Model,
        open_stream: Callable[[], Stream],
        *,
        store: Store,
        settings: Settings,
        attachments: Attachments,
        recorder: Recorder | None,
        gate: Gate | None,
        arbiter: Arbiter,
        load: Load,
        executor: Any,
        ended: Callable[[Session, str], None],
        broken: Callable[[DeviceLost], None],
    ) -> None:
        self.grant = grant
        self._pool = pool
        self._model = model
        self._settings = settings
        self._store = store
        self._attachments = attachments
        self._recorder = recorder
        self._ended = ended
        self._broken = broken
        self._greeted: set[int] = set()
        self._ending: asyncio.Task[None] | None = None
        self._tasks = Tasks("session")
        self._journal = Journal(store, grant, fenced=self._fenced)
        self._video, self._audio = self._outputs()
        self._events = EventLog(self._media_s, None if recorder is None else recorder.note)
        self._director = self._events.director(model.director())
        observed = self._events.stream
        self._seat = Seat(grant.model, lambda: observed(open_stream()), load=load, arbiter=arbiter, executor=executor)
        self._run = self._director.run
        self._screen = None if gate is None else Screen(gate, grant)
        if recorder is not None:
            self._video[model.spec.main_video.name].record(recorder)
        self._meters = {name: OutputMeter(grant.model) for name in self._video}
        self.connections = Connections(grant, settings.limits, self._connection)
        self._publishers = Publishers(model.spec.tracks)
        self._grace: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stream_state = b""
        self._log = log.bind(session_id=grant.session_id, epoch=grant.epoch)
        self._dialogue = Dialogue(
            grant,
            dispatch=Dispatch(model.spec, self._director),
            connections=self.connections,
            publishers=self._publishers,
            attachments=attachments,
            recorder=recorder,
            screen=self._screen,
            journal=self._journal,
            limits=settings.limits,
            tasks=self._tasks,
            changed=self._director_changed,
            over=lambda: self._ending is not None,
            terminate=self._moderated,
        )
        self._scheduler = Scheduler(
            model.spec,
            self._director,
            self._seat,
            video=self._video,
            audio=self._audio,
            inputs=self._publishers.take,
            meter=ChunkMeter(grant.model, grant.session_id),
            broadcast=self._dialogue.broadcast,
            completed=self._chunk_completed,
            due=self._due,
            offload_after_s=settings.limits.offload_after_s if pool.sessions_per_worker > 1 else None,
        )

    # --- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up the snapshot, if there is one, and start.

        Raises:
            RedisError: Redis does not answer.
            OtherVersion: the snapshot is good for another version of the worker.
            ValueError: it is good for none.
            CommandRefused: what the snapshot holds is not allowed, or cannot be moderated now.
        """
        parts = await self._store.load_snapshot(self.grant.tenant, self.grant.session_id)
        snapshot = None if parts is None else Snapshot.of(*parts)
        if self._screen is not None:
            record = await self._store.get(self.grant.tenant, self.grant.session_id)
            self._screen.warnings = 0 if record is None else record.warnings
        if snapshot is not None:
            await self._restore(snapshot)
        await self._events.begin(opened(self.grant, self._pool, snapshot))
        if not await self._journal.take_up(SessionState.WAITING):
            self.end(FENCED)
        if self._ending is not None:  # it ended before it began: nothing of it may start
            await self._ending
            return
        self._tasks.start(self._journal.run())
        self._generating = self._tasks.start(self._generate())
        loop = asyncio.get_running_loop()
        limits = self._settings.limits
        grace = limits.connect_grace_s if parts is None else limits.reconnect_grace_s
        self._await_client(grace, SessionState.CLOSED if parts is None else SessionState.INACTIVE)
        left = max(0.0, min(self.grant.deadline - time.time(), self.grant.record.max_duration_s))
        self._deadline = loop.call_later(left, self.end, "maximum duration reached")
        self._log.info("session_opened", restored=parts is not None)

    async def hand_over(self) -> None:
        """Leave the session to another worker, exactly as it is once all that has been generated has been shown.

        Raises:
            NotFound: it has ended meanwhile.
        """
        self._scheduler.finish()
        await asyncio.wait([self._generating])
        if self._ending is None and self._stream_state:
            self._stream_state = await self._seat.export()
        if self._ending is None:
            self._journal.note(worker="")
            self._journal.keep(self._snapshot)
            await self._settled()
        if self._ending is not None:
            raise NotFound(f"session {self.grant.session_id} is over")
        self._dialogue.close(say=True)
        self.connections.send(_moved(Move.PLANNED))
        await asyncio.shield(self.end(FENCED))

    async def _settled(self) -> None:
        """All that has happened so far is kept; while that is written, more may happen."""
        while (asked := self._journal.asked) and self._ending is None:
            await self._journal.kept(asked)
            if asked == self._journal.asked:
                return

    def end(self, reason: str, state: SessionState = SessionState.CLOSED) -> asyncio.Task[None]:
        """End the session, once; the task is done when nothing of it is left."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(reason, state))
        return self._ending

    def _fenced(self) -> None:
        self.end(FENCED)

    def _moderated(self) -> None:
        self.end(MODERATED)

    async def _end(self, reason: str, state: SessionState) -> None:
        for timer in (self._grace, self._deadline):
            if timer is not None:
                timer.cancel()
        if reason != FENCED:
            try:
                await self._journal.end(state, reason)
            except RedisError:
                self._log.warning("redis_unavailable", during="session end")
        self._dialogue.close(say=reason != FENCED)
        said = None if reason == FENCED else reason  # it is not over: the client shall come back
        await self.connections.close(said)
        await self._tasks.close()
        outputs: list[VideoOutput | AudioOutput] = [*self._video.values(), *self._audio.values()]
        await asyncio.gather(*(output.close() for output in outputs))
        self._seat.close()
        self._log.info("session_ended", reason=_label(reason), state=state.value)
        metrics.SESSIONS_ENDED.labels(self.grant.model, _label(reason)).inc()
        if reason in OUR_FAULT:
            metrics.SESSIONS_LOST.labels(self.grant.model, reason).inc()
        if reason != FENCED and state is SessionState.CLOSED:
            await self._attachments.drop()
        self._ended(self, reason)

    async def _generate(self) -> None:
        (failure,) = await asyncio.gather(self._scheduler.run(), return_exceptions=True)
        if isinstance(failure, DeviceLost):
            self._broken(failure)
        elif isinstance(failure, Exception):
            metrics.FAILURES.labels("engine").inc()
            self._log.error("generation_failed", exc_info=failure)
            self.end("generation failed")

    def _await_client(self, grace_s: float, then: SessionState) -> None:
        if self._grace is not None:
            self._grace.cancel()
        loop = asyncio.get_running_loop()
        self._grace = loop.call_later(grace_s, lambda: self.end("no client", then))

    # --- connections ------------------------------------------------------------------------------------------------

    def _connection(self, connection_id: int) -> Connection:
        return Connection(
            connection_id,
            outputs={**self._video, **self._audio},
            inputs={track.name: track.kind for track in self._model.spec.tracks if track.direction == "in"},
            settings=self._settings.media,
            listener=self,
            session_id=self.grant.session_id,
        )

    def opened(self, connection: Connection) -> None:
        """A connection is open: greet it, and generate for it."""
        self._log.info("connection_opened", connection_id=connection.id, role=connection.role.value)
        if self._grace is not None:
            self._grace.cancel()
        self._scheduler.set_watched(True)
        self._journal.note(state=SessionState.ACTIVE.value)
        news = [] if self.grant.move is None or connection.id in self._greeted else [_moved(self.grant.move)]
        self._greeted.add(connection.id)
        self._dialogue.greet(connection, self._director.connect(), news)
        self._publishers.withdraw(connection)  # a client that reconnects publishes anew
        self._dialogue.forget(connection)  # and knows nothing of replies to what it asked before
        if connection.id == FLAT_CONNECTION_ID:
            self._publishers.publish_unasked(connection)
        self.connections.opened(connection)

    def closed(self, connection: Connection, reason: str) -> None:
        """A connection is gone: free its publisher slots, and wait for it to come back if it was the last."""
        self._log.info("connection_closed", connection_id=connection.id, reason=reason)
        self._tasks.start(connection.close())
        self._publishers.withdraw(connection)
        self._dialogue.forget(connection)
        was_open = self.connections.closed(connection)  # else the grace that runs already is the client's
        if was_open and not self.connections and self._ending is None:
            self._scheduler.set_watched(False)
            self._journal.note(state=SessionState.SUSPENDED.value)
            self._await_client(self._settings.limits.reconnect_grace_s, SessionState.INACTIVE)

    def message(self, connection: Connection, message: ClientMessage) -> None:
        """See `Dialogue.message`."""
        self._dialogue.message(connection, message)

    # --- the device -------------------------------------------------------------------------------------------------

    @property
    def offloaded(self) -> bool:
        """Whether it rests, and nothing of it is on the device."""
        return self._seat.offloaded

    @property
    def stranded(self) -> bool:
        """Whether it rests no more, and there is no room for it on the device: it is to be moved."""
        return self._seat.stranded

    def look_for_room(self) -> None:
        """There may be some now."""
        if self._seat.stranded and self._seat.room:
            self._scheduler.wake()

    def _due(self) -> bool:
        """Whether the director has something to generate. A copy is asked: to ask is to cross the boundary."""
        copy = self._model.director()
        copy.restore(self._director.snapshot())
        return copy.begin_chunk() is not None

    # --- chunks and snapshots ---------------------------------------------------------------------------------------

    def _director_changed(self) -> int:
        if self._director.run != self._run:
            self._run = self._director.run
            self._scheduler.flush()
        self._scheduler.wake()
        return self._journal.keep(self._snapshot)

    def _chunk_completed(self, state: bytes) -> None:
        self._stream_state = state
        self._journal.keep(self._snapshot)
        for name, output in self._video.items():
            self._meters[name].observe(output.stats)

    def _snapshot(self) -> Snapshot:
        return Snapshot(model=self.grant.model, director=self._director.snapshot(), stream=self._stream_state)

    async def _restore(self, snapshot: Snapshot) -> None:
        if snapshot.model != self.grant.model:
            raise ValueError(f"a snapshot of {snapshot.model}, not of {self.grant.model}")
        self._director.restore(snapshot.director)
        if self._screen is not None:
            kept = await asyncio.to_thread(self._seat.stream.contents, snapshot.stream) if snapshot.stream else ()
            refused = await self._screen.check(contents_of([*self._director.contents(), *kept]), None)
            if refused is not None:
                raise refused
        self._run = self._director.run
        self._stream_state = snapshot.stream
        if snapshot.stream:
            await self._seat.restore(snapshot.stream)

    def events(self) -> bytes:
        """The log so far, of this worker (`models.events`)."""
        return self._events.data()

    # --- parts ------------------------------------------------------------------------------------------------------

    def _media_s(self) -> float:
        """Seconds of media so far: where the recording is, or how much was shown."""
        main = self._model.spec.main_video
        if self._recorder is not None:
            return round(self._recorder.now_s, 3)
        assert main.video is not None
        return round(self._video[main.name].stats.released / main.video.fps, 3)

    def _outputs(self) -> tuple[Mapping[str, VideoOutput], Mapping[str, AudioOutput]]:
        video: dict[str, VideoOutput] = {}
        audio: dict[str, AudioOutput] = {}
        for track in self._model.spec.tracks:
            if track.direction == "out" and track.kind == "audio":
                audio[track.name] = AudioOutput(track.name)
            elif track.direction == "out" and track.video is not None:
                size = track.video
                video[track.name] = VideoOutput(track.name, size.width, size.height, size.fps, self._settings.media)
        return video, audio


def _moved(how: Move) -> ModelMessage:
    """Additive to the wire: the session is, or will be, on another worker."""
    return ModelMessage("session_moved", {"cause": how.value})


def _label(reason: str) -> str:
    """Free text from clients must become neither a metric label nor a line in the log."""
    known = (
        "no client",
        "maximum duration reached",
        "generation failed",
        MODERATED,
        UNMODERATED,
        UNUSABLE,
        OTHER_VERSION,
        UNOPENED,
        "worker shut down",
        FENCED,
    )
    return reason if reason in known else "closed"
