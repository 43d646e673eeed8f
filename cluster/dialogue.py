"""What the clients of a session say, and what they are told: commands in arrival order, answers in the same order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from cluster import metrics, roles
from cluster.attachments import Attachments
from cluster.commands import Dispatch
from cluster.connections import Connections
from cluster.errors import CommandRefused
from cluster.inbox import Files, Inbox
from cluster.journal import Journal
from cluster.media.connection import Connection
from cluster.media.recorder import Recorder
from cluster.moderation.screen import Screen
from cluster.moderation.verdict import Moderated
from cluster.outbox import Outbox
from cluster.publishers import Publishers
from cluster.recordings import clip_reply
from cluster.records import Grant
from cluster.settings import LimitSettings
from cluster.tasks import Tasks
from models.contract import Message
from wire.frames import (
    ClientMessage,
    Command,
    ModelMessage,
    PublishTrack,
    RequestClip,
    RequestRecording,
    ServerMessage,
    UnpublishTrack,
)


class Dialogue:
    """See the module. `changed` is called when a command has changed the director, and returns what has to be kept
    before it is answered; `over` tells whether the session is ending; `terminate` has moderation end it."""

    def __init__(
        self,
        grant: Grant,
        *,
        dispatch: Dispatch,
        connections: Connections,
        publishers: Publishers,
        attachments: Attachments,
        recorder: Recorder | None,
        screen: Screen | None,
        journal: Journal,
        limits: LimitSettings,
        tasks: Tasks,
        changed: Callable[[], int],
        over: Callable[[], bool],
        terminate: Callable[[], None],
    ) -> None:
        self._grant = grant
        self._dispatch = dispatch
        self._connections = connections
        self._publishers = publishers
        self._attachments = attachments
        self._recorder = recorder
        self._screen = screen
        self._journal = journal
        self._limits = limits
        self._tasks = tasks
        self._changed = changed
        self._over = over
        self._terminate = terminate
        self._inboxes: dict[int, Inbox] = {}
        self._outbox = Outbox(grant.model, journal, tasks)

    # --- what clients say -------------------------------------------------------------------------------------------

    def message(self, connection: Connection, message: ClientMessage) -> None:
        """What a client says, but for what the connection answers itself."""
        if (refusal := roles.refusal(connection.role, message)) is not None:
            metrics.FORBIDDEN.labels(self._grant.model).inc()
            connection.send(refusal)
            return
        match message:
            case PublishTrack(name=name, request_id=request_id):
                connection.send(self._publishers.publish(connection, name, request_id))
            case UnpublishTrack(name=name):
                self._publishers.unpublish(connection, name)
            case Command():
                self._inbox(connection).put(message)
            case RequestClip() | RequestRecording() if self._recorder is not None:
                connection.send(clip_reply(self._recorder, self._grant, message, int(time.time() * 1000)))
            case _:
                self._turn(connection, message)

    def forget(self, connection: Connection) -> None:
        """The client is gone, or another peer of it has come: what it asked for and has not got yet is dropped."""
        if (inbox := self._inboxes.pop(connection.id, None)) is not None:
            inbox.close()

    def close(self, *, say: bool) -> None:
        """The session is over: answers that wait are given now, or, if it is another worker's already, not at all."""
        self._outbox.close(say=say)

    # --- what they are told -----------------------------------------------------------------------------------------

    def greet(self, connection: Connection, messages: Sequence[Message], more: Sequence[ServerMessage]) -> None:
        """Tell one that has come."""
        for message in (*map(_to_wire, messages), *more):
            self._say(connection, message)

    def broadcast(self, messages: Sequence[Message]) -> None:
        """Tell every open connection."""
        self._broadcast(messages, 0)

    def _broadcast(self, messages: Sequence[Message], asked: int) -> None:
        for message in map(_to_wire, messages):
            self._outbox.put(lambda message=message: self._connections.send(message), asked)  # type: ignore[misc]

    def _say(self, connection: Connection, message: ServerMessage, asked: int = 0) -> None:
        self._outbox.put(lambda: connection.send(message), asked)

    # --- commands ---------------------------------------------------------------------------------------------------

    def _inbox(self, connection: Connection) -> Inbox:
        if connection.id not in self._inboxes:
            self._inboxes[connection.id] = Inbox(
                files=self._dispatch.files,
                fetch=self._attachments.fetch,
                dispatch=lambda command, files, since: self._command(connection, command, files, since),
                refuse=lambda command, reason: self._refuse(connection, command, reason),
                limit=self._limits.max_waiting_commands,
                tasks=self._tasks,
                judge=None if self._screen is None else self._judge,
            )
        return self._inboxes[connection.id]

    async def _judge(self, command: Command, files: Files) -> CommandRefused | None:
        assert self._screen is not None
        return await self._screen.check(self._dispatch.contents(command, files), command.name)

    def _refuse(self, connection: Connection, command: Command, refused: CommandRefused) -> None:
        """Tell the asker. A verdict comes with a notice of its own, is counted, and may end the session."""
        if self._over():
            return
        reason = str(refused)
        if self._screen is not None and isinstance(refused, Moderated):
            notice = self._screen.count(refused, command.name)
            self._say(connection, notice)
            reason = notice.message
            self._journal.note(warnings=self._screen.warnings)
            if notice.action == "terminate":
                self._terminate()
        self._say(connection, self._dispatch.refuse(command, reason, refused.code))

    def _command(self, connection: Connection, command: Command, files: Files, since: float) -> None:
        if self._over():  # it may have waited while another one ended the session
            return
        self._turn(connection, command, files)
        took = metrics.COMMAND.labels(self._grant.model)
        clock = asyncio.get_running_loop()
        self._outbox.put(lambda: took.observe(clock.time() - since), 0)  # when all that it caused has been said

    def _turn(self, connection: Connection, message: ClientMessage, files: Files | None = None) -> None:
        if self._over():
            return
        turn = self._dispatch(message, files)
        asked = self._changed() if turn.changed else 0
        self._broadcast(turn.messages, asked)
        if turn.reply is not None:
            self._say(connection, turn.reply, asked)


def _to_wire(message: Message) -> ModelMessage:
    return ModelMessage(message.wire_name(), message.model_dump(mode="json"))
