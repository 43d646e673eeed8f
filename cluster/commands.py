"""From a client's message to the model: validation, the director's turn, and the reply that the asker is owed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from cluster import metrics
from cluster.describe import capabilities, openapi
from models.contract import Command, CommandError, Director, Message, ModelSpec
from wire import frames
from wire.frames import Channel, ClientMessage, Refused, ServerMessage
from wire.uploads import arguments

RECORDER_DISABLED = "recorder disabled"


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of a message: broadcasts, in order; then the asker's reply; and whether the director has changed."""

    messages: Sequence[Message] = ()
    reply: ServerMessage | None = None
    changed: bool = False


class Dispatch:
    """The one way from messages to a director."""

    def __init__(self, spec: ModelSpec, director: Director) -> None:
        self._spec = spec
        self._director = director
        self._types = spec.command_types()

    def __call__(self, message: ClientMessage) -> Turn:
        """Take one message. Never raises for what a client says."""
        match message:
            case frames.Command():
                return self._command(message)
            case frames.RequestSchema(request_id=request_id):
                return Turn(reply=frames.ModelSchema(openapi(self._spec), request_id))
            case frames.RequestCapabilities():
                described = capabilities(self._spec).model_dump(mode="json", by_alias=True)
                return Turn(reply=frames.ModelCapabilities(described))
            case frames.RequestClip(request_id=request_id) | frames.RequestRecording(request_id=request_id):
                return Turn(reply=frames.ClipFailed(RECORDER_DISABLED, request_id))
            case _:
                return Turn()

    def _command(self, message: frames.Command) -> Turn:
        command = self._validate(message)
        if isinstance(command, Refused):
            self._count("invalid")
            return Turn(reply=command)
        messages = self._director.handle(command)
        refused = bool(messages) and isinstance(messages[-1], CommandError)
        self._count("refused" if refused else "accepted")
        reply = frames.CommandAccepted(message.request_id) if message.request_id is not None else None
        return Turn(messages, reply, changed=not refused)

    def _validate(self, message: frames.Command) -> Command | Refused:
        declared = self._types.get(message.name)
        if declared is None:
            return self._refuse(message, "unknown command")
        try:
            return declared.model_validate(arguments(message))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return self._refuse(message, f"{where}: {first['msg']}" if where else first["msg"])

    @staticmethod
    def _refuse(message: frames.Command, reason: str) -> Refused:
        return Refused("invalid_command", reason, message.name, Channel.DATA, message.request_id)

    def _count(self, outcome: str) -> None:
        metrics.COMMANDS.labels(self._spec.name, outcome).inc()
