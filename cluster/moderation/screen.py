"""Moderation as one session knows it: what is refused, how many warnings there were, and when it is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from cluster.errors import CommandRefused
from cluster.moderation.contents import together
from cluster.moderation.gate import Gate
from cluster.moderation.verdict import (
    Action,
    Content,
    Context,
    Moderated,
    ModerationUnavailable,
    TooLongToModerate,
    kind_of,
)
from cluster.records import Grant
from wire.frames import Moderation

LATER = "this cannot be moderated now; try again"


class Screen:
    """See the module. `warnings` are those of the session so far, on whichever worker."""

    def __init__(self, gate: Gate, grant: Grant) -> None:
        self._gate = gate
        self._grant = grant
        self.warnings = 0

    async def check(self, contents: Iterable[Content], command: str | None) -> CommandRefused | None:
        """Why these contents may not pass; None if they may. `command` is None for those of a restored snapshot."""
        try:
            pages = together(contents)
        except TooLongToModerate as error:
            return error
        context = Context(self._grant.session_id, self._grant.tenant, self._grant.model, command)
        verdicts = await asyncio.gather(*(self._gate.judge(page, context) for page in pages))
        found = [(verdict, page) for verdict, page in zip(verdicts, pages, strict=True) if verdict is not None]
        verdict, page = max(found, key=lambda each: each[0].action.severity, default=(None, ""))
        if verdict is not None and verdict.action is not Action.ALLOW:
            return Moderated.by(verdict, kind_of(page))
        return ModerationUnavailable(LATER) if len(found) < len(pages) else None

    def count(self, refused: Moderated, command: str) -> Moderation:
        """What the client is told; the warning that is one too many ends the session, as some verdicts do at once."""
        ends = refused.verdict.action is Action.TERMINATE
        message = str(refused)
        if not ends:
            self.warnings += 1
            ends = self.warnings > self._gate.max_warnings
            message += f" (warning {self.warnings}, {self._gate.max_warnings} are allowed)"
        return Moderation(
            action="terminate" if ends else "warn",
            input_kind=refused.kind,
            command=command,
            categories=refused.verdict.categories,
            message=message,
        )
