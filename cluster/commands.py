"""From a client's message to the model: validation, the director's turn, and the reply that the asker is owed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from cluster import metrics
from cluster.describe import capabilities, openapi
from cluster.moderation.contents import contents_of
from cluster.moderation.verdict import Content
from models.contract import Command, CommandError, Director, Message, ModelSpec
from models.files import MISSING, Upload
from wire import frames
from wire.frames import Channel, ClientMessage, Refused, ServerMessage
from wire.uploads import UPLOAD_FORMAT, arguments

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
        self._with_files = {name for name, declared in self._types.items() if _takes_files(declared)}

    def files(self, message: frames.Command) -> Sequence[str]:
        """Ids of the uploads that a command needs, each once; none for a command that will be refused anyway."""
        needed: dict[str, Upload] = {}
        if message.name in self._with_files:
            try:
                self._types[message.name].model_validate(
                    arguments(message), context=lambda it: needed.setdefault(it, Upload(it, "", "", b""))
                )
            except ValidationError:
                return ()
        return tuple(needed)

    def contents(self, message: frames.Command, files: Mapping[str, Upload]) -> Iterator[Content]:
        """All texts and files of a command as the model would get it; none of one that will be refused anyway."""
        declared = self._types.get(message.name)
        if declared is not None:
            with suppress(ValidationError):
                yield from contents_of(declared.model_validate(arguments(message), context=files.get))

    def __call__(self, message: ClientMessage, files: Mapping[str, Upload] | None = None) -> Turn:
        """Take one message, with the uploads that it needs by id. Never raises for what a client says."""
        match message:
            case frames.Command():
                return self._command(message, files or {})
            case frames.RequestSchema(request_id=request_id):
                return Turn(reply=frames.ModelSchema(openapi(self._spec), request_id))
            case frames.RequestCapabilities():
                described = capabilities(self._spec).model_dump(mode="json", by_alias=True)
                return Turn(reply=frames.ModelCapabilities(described))
            case frames.RequestClip(request_id=request_id) | frames.RequestRecording(request_id=request_id):
                return Turn(reply=frames.ClipFailed(RECORDER_DISABLED, request_id))
            case _:
                return Turn()

    def refuse(self, message: frames.Command, reason: str, code: str = "invalid_command") -> Refused:
        """The reply to a command that never reaches the director."""
        self._count("invalid")
        return Refused(code, reason, message.name, Channel.DATA, message.request_id)

    def _command(self, message: frames.Command, files: Mapping[str, Upload]) -> Turn:
        command = self._validate(message, files)
        if isinstance(command, Refused):
            return Turn(reply=command)
        messages = self._director.handle(command)
        refused = bool(messages) and isinstance(messages[-1], CommandError)
        self._count("refused" if refused else "accepted")
        reply = frames.CommandAccepted(message.request_id) if message.request_id is not None else None
        return Turn(messages, reply, changed=not refused)

    def _validate(self, message: frames.Command, files: Mapping[str, Upload]) -> Command | Refused:
        declared = self._types.get(message.name)
        if declared is None:
            return self.refuse(message, "unknown command")
        try:
            return declared.model_validate(arguments(message), context=files.get)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            first = next((each for each in found if each["type"] != MISSING), found[0])  # a cause, if there is another
            where = ".".join(str(part) for part in first["loc"])
            return self.refuse(message, f"{where}: {first['msg']}" if where else first["msg"])

    def _count(self, outcome: str) -> None:
        metrics.COMMANDS.labels(self._spec.name, outcome).inc()


def _takes_files(command: type[Command]) -> bool:
    """Whether an upload is anywhere among the arguments."""
    return UPLOAD_FORMAT in str(command.model_json_schema())
