"""What a moderator is asked and answers, and the refusals that come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal, Protocol, Self

from pydantic import AfterValidator, BaseModel, ConfigDict

from cluster.errors import CommandRefused

MAX_REASON_CHARS = 300
MAX_CATEGORIES = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """A file as the client sent it; its type is what the bytes were found to be."""

    mime_type: str
    data: bytes = field(repr=False)


Content = str | Picture

Kind = Literal["text", "image"]


class Action(StrEnum):
    """From mild to severe: the order of the members."""

    ALLOW = "allow"
    WARN = "warn"
    TERMINATE = "terminate"

    @property
    def severity(self) -> int:
        """Grows."""
        return list(Action).index(self)


def _short(text: str) -> str:
    return text[:MAX_REASON_CHARS]


class Verdict(BaseModel):
    """`reason` and `categories` are told to the client."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    action: Action
    reason: Annotated[str, AfterValidator(_short)] = ""
    categories: Annotated[
        tuple[Annotated[str, AfterValidator(_short)], ...], AfterValidator(lambda all_of: all_of[:MAX_CATEGORIES])
    ] = ()


ALLOWED = Verdict(action=Action.ALLOW)


@dataclass(frozen=True, slots=True)
class Context:
    """Where a content comes from. `command` is None for what a restored snapshot holds."""

    session_id: str
    account: str
    model: str
    command: str | None


class ModeratorUnavailable(Exception):
    """A moderator did not answer, or not with a verdict. The text is for the log: it holds no content."""


class Moderator(Protocol):
    """Looks at one content at a time; called from many tasks at once."""

    async def check(self, content: Content, context: Context) -> Verdict:
        """The verdict. Raises ModeratorUnavailable."""
        ...

    async def close(self) -> None:
        """Free what is held."""
        ...


def kind_of(content: Content) -> Kind:
    """As the wire says it."""
    return "text" if isinstance(content, str) else "image"


class Moderated(CommandRefused):
    """A moderator does not allow it."""

    code = "moderated"

    verdict = Verdict(action=Action.WARN)
    kind: Kind = "text"

    @classmethod
    def by(cls, verdict: Verdict, kind: Kind) -> Self:
        """The refusal that comes of a verdict on a text or an image."""
        refused = cls(verdict.reason or f"this {kind} is not allowed")
        refused.verdict, refused.kind = verdict, kind
        return refused


class ModerationUnavailable(CommandRefused):
    """It could not be looked at, and nothing passes unseen."""

    code = "moderation_unavailable"


class TooLongToModerate(CommandRefused):
    """Longer than any text that is looked at."""

    code = "too_long"
