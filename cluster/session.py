"""One session in a worker's slot: connections around a director, a stream and their outputs.

Commands reach the director in arrival order; its messages go to every open connection, replies to the asker only. The
scheduler generates; the journal keeps Redis up to date. Timers end a session that nobody comes to, or comes back to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from cluster import endings, metrics
from cluster.arbiter import Arbiter
from cluster.attachments import Attachments
from cluster.commands import Dispatch
from cluster.connections import Connections
from cluster.dialogue import Dialogue
from cluster.errors import NotFound
from cluster.eventlog import EventLog, opened
from cluster.journal import Journal, Snapshot
from cluster.ledger import Ledger
from cluster.load import Load
from cluster.media.connection import Connection
from cluster.media.recorder import Recorder
from cluster.meters import ChunkMeter
from cluster.moderation.gate import Gate
from cluster.moderation.screen import Screen
from cluster.outbound import Outbound
from cluster.progress import Progress
from cluster.publishers import Publishers
from cluster.records import Grant, Move
from cluster.scheduler import Scheduler
from cluster.seat import Seat
from cluster.settings import PoolSettings, Settings
from cluster.stay import Stay
from cluster.store import Store
from cluster.tasks import Tasks
from cluster.timers import Timers
from models.contract import DeviceLost, Model, Stream
from wire.frames import ClientMessage, ModelMessage
from wire.http import FLAT_CONNECTION_ID, SessionState

log = structlog.get_logger(__name__)


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
        ledger: Ledger,
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
        self._ended = ended
        self._broken = broken
        self._greeted: set[int] = set()
        self._ending: asyncio.Task[None] | None = None
        self._tasks = Tasks("session")
        self._journal = Journal(store, grant, fenced=self._fenced)
        self._outbound = Outbound(grant.model, model.spec, settings.media)
        self._events = EventLog(self._outbound.media_s, None if recorder is None else recorder.note)
        self._director = self._events.director(model.director())
        observed = self._events.stream
        self._seat = Seat(grant.model, lambda: observed(open_stream()), load=load, arbiter=arbiter, executor=executor)
        self._stay = Stay(ledger, grant, pool)
        self._run = self._director.run
        self._screen = None if gate is None else Screen(gate, grant)
        self._progress = Progress(grant.model, model, self._director, self._seat, self._screen)
        if recorder is not None:
            self._outbound.record(recorder)
        self.connections = Connections(grant, settings.limits, self._connection)
        self._publishers = Publishers(model.spec.tracks)
        self._timers = Timers(grant, settings.limits, self.end)
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
            video=self._outbound.video,
            audio=self._outbound.audio,
            inputs=self._publishers.take,
            meter=ChunkMeter(grant.model, grant.session_id),
            work=self._stay,
            broadcast=self._dialogue.broadcast,
            completed=self._chunk_completed,
            due=self._progress.due,
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
            await self._progress.restore(snapshot)
            self._run = self._director.run
        await self._events.begin(opened(self.grant, self._pool, snapshot))
        if not await self._journal.take_up(SessionState.WAITING):
            self.end(endings.FENCED)
        if self._ending is not None:  # it ended before it began: nothing of it may start
            await self._ending
            return
        self._tasks.start(self._journal.run())
        self._generating = self._tasks.start(self._generate())
        self._timers.begin(restored=parts is not None)
        self._log.info("session_opened", restored=parts is not None)

    async def hand_over(self) -> None:
        """Leave the session to another worker, exactly as it is once all that has been generated has been shown.

        Raises:
            NotFound: it has ended meanwhile.
        """
        self._scheduler.finish()
        await asyncio.wait([self._generating])
        if self._ending is None:
            await self._progress.make_exact()
        if self._ending is None:
            self._journal.note(worker="")
            self._journal.keep(self._progress.snapshot)
            await self._settled()
        if self._ending is not None:
            raise NotFound(f"session {self.grant.session_id} is over")
        self._stay.was_ours()
        self._dialogue.close(say=True)
        self.connections.send(_moved(Move.PLANNED))
        await asyncio.shield(self.end(endings.FENCED))

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
        self.end(endings.FENCED)

    def _moderated(self) -> None:
        self.end(endings.MODERATED)

    async def _end(self, reason: str, state: SessionState) -> None:
        self._stay.stop()
        self._timers.stop()
        if reason != endings.FENCED:
            try:
                await self._journal.end(state, reason)
            except RedisError:
                self._stay.was_ours()  # without Redis nobody is given a session
                self._log.warning("redis_unavailable", during="session end")
        self._dialogue.close(say=reason != endings.FENCED)
        said = None if reason == endings.FENCED else reason  # it is not over: the client shall come back
        await self.connections.close(said)
        await self._tasks.close()
        await self._outbound.close()
        self._seat.close()
        self._log.info("session_ended", reason=endings.label(reason), state=state.value, seconds=self._stay.seconds)
        endings.count(self.grant.model, reason)
        if reason != endings.FENCED and state is SessionState.CLOSED:
            await self._attachments.drop()
        self._ended(self, reason)

    async def _generate(self) -> None:
        (failure,) = await asyncio.gather(self._scheduler.run(), return_exceptions=True)
        if isinstance(failure, DeviceLost):
            self._broken(failure)
        elif isinstance(failure, Exception):
            metrics.FAILURES.labels("engine").inc()
            self._log.error("generation_failed", exc_info=failure)
            self.end(endings.FAILED)

    # --- connections ------------------------------------------------------------------------------------------------

    def _connection(self, connection_id: int) -> Connection:
        return Connection(
            connection_id,
            outputs=self._outbound.by_name,
            inputs={track.name: track.kind for track in self._model.spec.tracks if track.direction == "in"},
            settings=self._settings.media,
            listener=self,
            session_id=self.grant.session_id,
        )

    def opened(self, connection: Connection) -> None:
        """A connection is open: greet it, and generate for it."""
        self._log.info("connection_opened", connection_id=connection.id, role=connection.role.value)
        self._timers.came()
        self._scheduler.set_watched(True)
        self._stay.watched(True)
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
            self._stay.watched(False)
            self._journal.note(state=SessionState.SUSPENDED.value)
            self._timers.left()

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

    # --- chunks and snapshots ---------------------------------------------------------------------------------------

    def _director_changed(self) -> int:
        if self._director.run != self._run:
            self._run = self._director.run
            self._scheduler.flush()
        self._scheduler.wake()
        return self._journal.keep(self._progress.snapshot)

    def _chunk_completed(self, state: bytes) -> None:
        self._progress.completed(state)
        self._journal.keep(self._progress.snapshot)
        self._outbound.observe()

    def events(self) -> bytes:
        """The log so far, of this worker (`models.events`)."""
        return self._events.data()


def _moved(how: Move) -> ModelMessage:
    """Additive to the wire: the session is, or will be, on another worker."""
    return ModelMessage("session_moved", {"cause": how.value})
