"""The timers of a session on a worker: they end it when nobody comes, or comes back, and when its time is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cluster.endings import NO_CLIENT, TOO_LONG
from cluster.records import Grant
from cluster.settings import LimitSettings
from wire.http import SessionState


class Timers:
    """See the module. `end` is called with the reason and the state that is left. Use it inside the running loop."""

    def __init__(self, grant: Grant, limits: LimitSettings, end: Callable[[str, SessionState], object]) -> None:
        self._grant = grant
        self._limits = limits
        self._end = end
        self._client: asyncio.TimerHandle | None = None
        self._duration: asyncio.TimerHandle | None = None

    def begin(self, *, restored: bool) -> None:
        """The session is open; clients of a restored one have as long as if they had just left."""
        if restored:
            self.left()
        else:
            self._await_client(self._limits.connect_grace_s, SessionState.CLOSED)
        lasts_s = max(0.0, min(self._grant.deadline - time.time(), self._grant.record.max_duration_s))
        self._duration = self._call(lasts_s, TOO_LONG, SessionState.CLOSED)

    def came(self) -> None:
        """A client is here."""
        if self._client is not None:
            self._client.cancel()

    def left(self) -> None:
        """The last client is gone; the session can be started again when none comes back."""
        self._await_client(self._limits.reconnect_grace_s, SessionState.INACTIVE)

    def stop(self) -> None:
        """The session is ending."""
        for timer in (self._client, self._duration):
            if timer is not None:
                timer.cancel()

    def _await_client(self, grace_s: float, then: SessionState) -> None:
        self.came()
        self._client = self._call(grace_s, NO_CLIENT, then)

    def _call(self, in_s: float, reason: str, state: SessionState) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(in_s, self._end, reason, state)
