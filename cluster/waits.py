"""What the allocator remembers of those who wait, besides their place: when a client last asked for them, what it was
promised, and of those that move, why and since when. What comes of a wait goes to metrics, spans and usage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from cluster import metrics, tracing
from cluster.ledger import Ledger
from cluster.promises import Promises
from cluster.records import Move, Ticket
from cluster.usage import State


class Waits:
    """By session id. `now` is the clock that tickets' arrivals are of, in seconds."""

    def __init__(self, ledger: Ledger, now: Callable[[], float]) -> None:
        self._ledger = ledger
        self._now = now
        self._promises = Promises()
        self._asked_at: dict[str, float] = {}
        self._moving: dict[str, Move] = {}
        self._moved_at: dict[str, float] = {}
        """Since when, where this allocator has seen it."""

    def asked(self, session_ids: Iterable[str]) -> None:
        """Clients have asked for these."""
        self._asked_at |= dict.fromkeys(session_ids, time.monotonic())

    def vanished(self, session_id: str, grace_s: float) -> bool:
        """Whether no client has asked for so long; after a restart, since this was first looked for."""
        return time.monotonic() - self._asked_at.setdefault(session_id, time.monotonic()) > grace_s

    def promised(self, session_id: str, eta_s: float | None) -> None:
        """The client was told so many seconds, or that nobody knows."""
        self._promises.make(session_id, eta_s, self._now())

    def moves(self, session_id: str, why: Move) -> None:
        """The session has left its worker, and waits for another since now."""
        self._moving[session_id] = why
        self._moved_at.setdefault(session_id, self._now())

    def moved(self, session_id: str, why: Move) -> None:
        """The same, since nobody knows when."""
        self._moving[session_id] = why

    def why(self, session_id: str) -> Move | None:
        """Why it moves; None for a session that waits for its first worker."""
        return self._moving.get(session_id)

    def over(self, ticket: Ticket) -> None:
        """The session waits no longer, for whatever reason."""
        moves = ticket.session_id in self._moving
        since = self._moved_at.get(ticket.session_id) if moves else ticket.arrival
        if since is not None:
            waited_ms = max(0, round((self._now() - since) * 1000))
            self._ledger.spent(ticket.tenant, ticket.model, State.WAITING, waited_ms)

    def begun(self, ticket: Ticket) -> None:
        """The wait for its first worker is over, whether or not that worker lives on."""
        self.over(ticket)
        self._ledger.add(ticket.tenant, ticket.model, "sessions", 1)

    def granted(self, ticket: Ticket, worker: str, move: Move | None) -> None:
        """The session has a worker."""
        now, session_id, model = self._now(), ticket.session_id, ticket.model
        moved_at = self._moved_at.get(session_id)
        if (kept := self._promises.keep(session_id, now)) is not None:
            metrics.observe_promise(model, kept)
        if move is None:
            self.begun(ticket)
            waited_s = max(0.0, now - ticket.arrival)
            metrics.ADMISSION.labels(model).observe(waited_s)
            tracing.span("admission", session_id, waited_s, worker_id=worker)
        else:
            self.over(ticket)
            if moved_at is not None:
                metrics.MOVE.labels(model, move.value).observe(now - moved_at)
                tracing.span("failover", session_id, now - moved_at, worker_id=worker, cause=move.value)
        self._moving.pop(session_id, None)
        self._moved_at.pop(session_id, None)

    def forget(self, session_id: str) -> None:
        """Nothing of the session is remembered."""
        self._promises.drop(session_id)
        for known in (self._asked_at, self._moving, self._moved_at):
            known.pop(session_id, None)
