"""Asks the moderators of a worker, remembers what they said for a while, counts it, and decides where none answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Self

import structlog

from cluster import metrics
from cluster.moderation.denylist import DenyList
from cluster.moderation.verdict import (
    ALLOWED,
    Action,
    Content,
    Context,
    Moderator,
    ModeratorUnavailable,
    Verdict,
    kind_of,
)
from cluster.moderation.webhook import Webhook
from cluster.settings import ModerationSettings

log = structlog.get_logger(__name__)

MAX_REMEMBERED = 4096
MAX_ASKING = 16
"""Questions that are with the moderators at a time."""


class Gate:
    """One per worker. `clock` counts seconds, from wherever."""

    def __init__(
        self,
        moderators: Sequence[Moderator],
        settings: ModerationSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_warnings = settings.max_warnings
        self._moderators = moderators
        self._opens = settings.fail == "open"
        self._ttl_s = settings.cache_ttl_s
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()
        self._asking = asyncio.Semaphore(MAX_ASKING)

    @classmethod
    def of(cls, settings: ModerationSettings) -> Self | None:
        """The gate of the settings; None where there is nobody to ask. Raises ValueError for a bad list."""
        moderators: list[Moderator] = []
        if settings.deny_list is not None:
            moderators.append(DenyList.read(settings.deny_list))
        if settings.webhook_url is not None:
            moderators.append(Webhook(settings.webhook_url, settings))
        return cls(moderators, settings) if moderators else None

    async def judge(self, content: Content, context: Context) -> Verdict | None:
        """The first verdict that does not allow it, else one that does; None if it must not pass for want of one."""
        key = await asyncio.to_thread(_key, content, context)
        verdict = self._recall(key)
        if verdict is None:
            try:
                async with self._asking:
                    with metrics.MODERATION_SECONDS.labels(kind_of(content)).time():
                        verdict = await self._ask(content, context)
            except ModeratorUnavailable as error:
                return self._unavailable(str(error), content, context)
            self._remember(key, verdict)
        self._count(content, verdict.action.value)
        if verdict.action is not Action.ALLOW:
            told = {"session_id": context.session_id, "command": context.command, "kind": kind_of(content)}
            log.warning("moderated", action=verdict.action.value, **told)
        return verdict

    async def close(self) -> None:
        """Free what the moderators hold."""
        for moderator in self._moderators:
            await moderator.close()

    async def _ask(self, content: Content, context: Context) -> Verdict:
        for moderator in self._moderators:
            verdict = await moderator.check(content, context)
            if verdict.action is not Action.ALLOW:
                return verdict
        return ALLOWED

    def _unavailable(self, reason: str, content: Content, context: Context) -> Verdict | None:
        self._count(content, "passed_unseen" if self._opens else "unavailable")
        log.error("moderator_unavailable", session_id=context.session_id, reason=reason, passed_unseen=self._opens)
        return ALLOWED if self._opens else None

    def _recall(self, key: bytes) -> Verdict | None:
        until, verdict = self._remembered.get(key, (0.0, None))
        return verdict if verdict is not None and self._clock() < until else None

    def _remember(self, key: bytes, verdict: Verdict) -> None:
        self._remembered[key] = self._clock() + self._ttl_s, verdict
        self._remembered.move_to_end(key)
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    def _count(self, content: Content, outcome: str) -> None:
        metrics.MODERATION.labels(kind_of(content), outcome).inc()


def _key(content: Content, context: Context) -> bytes:
    """Equal for contents that get the same verdict; nothing of them can be read in it."""
    whence = {name: value for name, value in asdict(context).items() if name != "session_id"}
    digest = hashlib.sha256(json.dumps([kind_of(content), whence], sort_keys=True).encode() + b"\n")
    digest.update(content.encode() if isinstance(content, str) else content.data)
    return digest.digest()
