"""One session in a worker's slot: connections around a director, a stream and their outputs.

Commands reach the director in arrival order; its messages go to every open connection, replies to the asker only. The
scheduler generates; the journal keeps Redis up to date. Timers end a session that nobody comes to, or comes back to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from redis.exceptions import RedisError

from cluster import metrics
from cluster.arbiter import Arbiter
from cluster.attachments import Attachments
from cluster.commands import Dispatch
from cluster.connections import Connections
from cluster.inbox import Files, Inbox
from cluster.journal import Journal, Snapshot
from cluster.media.connection import Connection
from cluster.media.output import AudioOutput, VideoOutput
from cluster.media.recorder import Recorder
from cluster.publishers import Publishers
from cluster.recordings import clip_reply
from cluster.records import Grant
from cluster.scheduler import Scheduler
from cluster.settings import Settings
from cluster.store import Store
from cluster.tasks import Tasks
from models.contract import Message, Model, Stream
from wire.frames import (
    ClientMessage,
    Command,
    ModelMessage,
    PublishTrack,
    RequestClip,
    RequestRecording,
    UnpublishTrack,
)
from wire.http import FLAT_CONNECTION_ID, SessionState
from wire.uploads import arguments

log = structlog.get_logger(__name__)

FENCED = "moved to another worker"


class Session:
    """A session that this worker owns under one epoch. Make it inside a running loop, then `open` it."""

    def __init__(
        self,
        grant: Grant,
        model: Model,
        stream: Stream,
        *,
        store: Store,
        settings: Settings,
        attachments: Attachments,
        recorder: Recorder | None,
        arbiter: Arbiter,
        executor: Any,
        ended: Callable[[Session, str], None],
    ) -> None:
        self.grant = grant
        self._model = model
        self._stream = stream
        self._settings = settings
        self._store = store
        self._attachments = attachments
        self._recorder = recorder
        self._ended = ended
        self._ending: asyncio.Task[None] | None = None
        self._tasks = Tasks("session")
        self._journal = Journal(store, grant, fenced=self._fenced)
        self._director = model.director()
        self._run = self._director.run
        self._video, self._audio = self._outputs()
        if recorder is not None:
            self._video[model.spec.main_video.name].record(recorder)
        self._meters = {name: metrics.OutputMeter(grant.model) for name in self._video}
        self.connections = Connections(grant, settings.limits, self._connection)
        self._inboxes: dict[int, Inbox] = {}
        self._publishers = Publishers(model.spec.tracks)
        self._grace: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stream_state = b""
        self._log = log.bind(session_id=grant.session_id, epoch=grant.epoch)
        self._dispatch = Dispatch(model.spec, self._director)
        self._scheduler = Scheduler(
            model.spec,
            self._director,
            stream,
            video=self._video,
            audio=self._audio,
            inputs=self._publishers.take,
            broadcast=self._broadcast,
            completed=self._chunk_completed,
            arbiter=arbiter,
            executor=executor,
        )

    # --- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up the snapshot, if there is one, and start. Raises RedisError; ValueError for a bad snapshot."""
        data = await self._store.load_snapshot(self.grant.tenant, self.grant.session_id)
        if data is not None:
            await self._restore(Snapshot.model_validate_json(data))
        if not await self._journal.take_up(SessionState.WAITING):
            self.end(FENCED)
        if self._ending is not None:  # it ended before it began: nothing of it may start
            await self._ending
            return
        self._tasks.start(self._journal.run())
        self._tasks.start(self._generate())
        loop = asyncio.get_running_loop()
        limits = self._settings.limits
        grace = limits.connect_grace_s if data is None else limits.reconnect_grace_s
        self._await_client(grace, SessionState.CLOSED if data is None else SessionState.INACTIVE)
        left = max(0.0, self.grant.deadline - time.time())
        self._deadline = loop.call_later(left, self.end, "maximum duration reached")
        self._log.info("session_opened", restored=data is not None)

    def end(self, reason: str, state: SessionState = SessionState.CLOSED) -> asyncio.Task[None]:
        """End the session, once; the task is done when nothing of it is left."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(reason, state))
        return self._ending

    def _fenced(self) -> None:
        self.end(FENCED)

    async def _end(self, reason: str, state: SessionState) -> None:
        for timer in (self._grace, self._deadline):
            if timer is not None:
                timer.cancel()
        if reason != FENCED:
            try:
                await self._journal.end(state, reason)
            except RedisError:
                self._log.warning("redis_unavailable", during="session end")
        said = None if reason == FENCED else reason  # it is not over: the client shall come back
        await self.connections.close(said)
        await self._tasks.close()
        outputs: list[VideoOutput | AudioOutput] = [*self._video.values(), *self._audio.values()]
        await asyncio.gather(*(output.close() for output in outputs))
        self._stream.close()
        self._log.info("session_ended", reason=_label(reason), state=state.value)
        metrics.SESSIONS_ENDED.labels(self.grant.model, _label(reason)).inc()
        if reason != FENCED and state is SessionState.CLOSED:
            await self._attachments.drop()
        self._ended(self, reason)

    async def _generate(self) -> None:
        (failure,) = await asyncio.gather(self._scheduler.run(), return_exceptions=True)
        if isinstance(failure, Exception):
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
        self._log.info("connection_opened", connection_id=connection.id)
        if self._grace is not None:
            self._grace.cancel()
        self._scheduler.set_watched(True)
        self._journal.note(state=SessionState.ACTIVE.value)
        for message in self._director.connect():
            connection.send(_to_wire(message))
        self._publishers.withdraw(connection)  # a client that reconnects publishes anew
        self._drop_inbox(connection)  # and knows nothing of replies to what it asked before
        if connection.id == FLAT_CONNECTION_ID:
            self._publishers.publish_unasked(connection)
        self.connections.opened(connection)

    def closed(self, connection: Connection, reason: str) -> None:
        """A connection is gone: free its publisher slots, and wait for it to come back if it was the last."""
        self._log.info("connection_closed", connection_id=connection.id, reason=reason)
        self._tasks.start(connection.close())
        self._publishers.withdraw(connection)
        self._drop_inbox(connection)
        was_open = self.connections.closed(connection)  # else the grace that runs already is the client's
        if was_open and not self.connections and self._ending is None:
            self._scheduler.set_watched(False)
            self._journal.note(state=SessionState.SUSPENDED.value)
            self._await_client(self._settings.limits.reconnect_grace_s, SessionState.INACTIVE)

    # --- messages ---------------------------------------------------------------------------------------------------

    def message(self, connection: Connection, message: ClientMessage) -> None:
        """What a client says, but for what the connection answers itself."""
        match message:
            case PublishTrack(name=name, request_id=request_id):
                connection.send(self._publishers.publish(connection, name, request_id))
            case UnpublishTrack(name=name):
                self._publishers.unpublish(connection, name)
            case Command():
                self._inbox(connection).put(message)
            case RequestClip() | RequestRecording() if self._recorder is not None:
                connection.send(clip_reply(self._recorder, self.grant, message, int(time.time() * 1000)))
            case _:
                self._turn(connection, message)

    def _inbox(self, connection: Connection) -> Inbox:
        if connection.id not in self._inboxes:
            self._inboxes[connection.id] = Inbox(
                files=self._dispatch.files,
                fetch=self._attachments.fetch,
                dispatch=lambda command, files: self._turn(connection, command, files),
                refuse=lambda command, code, reason: connection.send(self._dispatch.refuse(command, reason, code)),
                limit=self._settings.limits.max_waiting_commands,
                tasks=self._tasks,
            )
        return self._inboxes[connection.id]

    def _drop_inbox(self, connection: Connection) -> None:
        if (inbox := self._inboxes.pop(connection.id, None)) is not None:
            inbox.close()

    def _turn(self, connection: Connection, message: ClientMessage, files: Files | None = None) -> None:
        if isinstance(message, Command) and self._recorder is not None:
            self._recorder.note("command", message.name, arguments(message))
        turn = self._dispatch(message, files)
        self._broadcast(turn.messages)
        if turn.reply is not None:
            connection.send(turn.reply)
        if turn.changed:
            self._director_changed()

    def _director_changed(self) -> None:
        if self._director.run != self._run:
            self._run = self._director.run
            self._scheduler.flush()
        self._scheduler.wake()
        self._journal.keep(self._snapshot)

    def _broadcast(self, messages: Sequence[Message]) -> None:
        for message in map(_to_wire, messages):
            if self._recorder is not None:
                self._recorder.note("message", message.type, message.data)
            self.connections.send(message)

    # --- chunks and snapshots ---------------------------------------------------------------------------------------

    def _chunk_completed(self, state: bytes) -> None:
        self._stream_state = state
        self._journal.keep(self._snapshot)
        for name, output in self._video.items():
            stats = output.stats
            self._meters[name].observe({codec.value: n for codec, n in stats.encoded.items()}, stats.viewer_drops)

    def _snapshot(self) -> Snapshot:
        return Snapshot(model=self.grant.model, director=self._director.snapshot(), stream=self._stream_state)

    async def _restore(self, snapshot: Snapshot) -> None:
        self._director.restore(snapshot.director)
        self._run = self._director.run
        self._stream_state = snapshot.stream
        if snapshot.stream:
            await self._scheduler.restore(snapshot.stream)

    # --- parts ------------------------------------------------------------------------------------------------------

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


def _to_wire(message: Message) -> ModelMessage:
    return ModelMessage(message.wire_name(), message.model_dump(mode="json"))


def _label(reason: str) -> str:
    """Free text from clients must become neither a metric label nor a line in the log."""
    known = (
        "no client",
        "maximum duration reached",
        "generation failed",
        "snapshot unusable",
        "worker shut down",
        FENCED,
    )
    return reason if reason in known else "closed"
