"""What waiters were told when they began to wait, kept until it can be compared with how long they did."""

from __future__ import annotations

from typing import NamedTuple


class Kept(NamedTuple):
    """A promise and what became of it, in seconds."""

    promised_s: float
    waited_s: float


class Promises:
    """By session id; the first promise counts. `now` is in seconds of one clock of the caller's."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[float, float]] = {}

    def make(self, session_id: str, eta_s: float | None, now: float) -> None:
        """The session has begun to wait and was told so many seconds, or that nobody knows."""
        if eta_s is not None:
            self._made.setdefault(session_id, (now, eta_s))

    def keep(self, session_id: str, now: float) -> Kept | None:
        """The session has its worker; None if it was promised nothing."""
        made = self._made.pop(session_id, None)
        return None if made is None else Kept(made[1], now - made[0])

    def drop(self, session_id: str) -> None:
        """The session waits no longer and got no worker."""
        self._made.pop(session_id, None)
