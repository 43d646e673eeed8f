"""A session's stay on a worker: how long it was in which state, and what was made for it.

The share of a worker's GPUs that a session is charged is theirs over the slots, whoever sits beside it: what it costs
depends on nobody else, and all sessions of a worker together never cost more than its GPUs.
"""

from __future__ import annotations

from collections import Counter

from cluster.ledger import Ledger
from cluster.records import Grant
from cluster.settings import PoolSettings
from cluster.usage import Claim, State


class Stay:
    """Counted from now until `stop`; nobody is connected yet, and there is nothing to play."""

    def __init__(self, ledger: Ledger, grant: Grant, pool: PoolSettings) -> None:
        self._ledger = ledger
        self._tenant, self._model = grant.tenant, grant.model
        self._share = pool.num_gpus / pool.sessions_per_worker
        self._claim = Claim(grant.tenant, grant.session_id, grant.epoch)
        self._watched = self._playing = self._over = False
        self._at_ms = self._now_ms()
        self._ms: Counter[State] = Counter()
        ledger.begin(self)

    @property
    def state(self) -> State:
        """What the session does now."""
        if not self._watched:
            return State.ORPHANED
        return State.GENERATING if self._playing else State.PAUSED

    @property
    def seconds(self) -> dict[str, float]:
        """By state, as far as they are counted."""
        return {state.value: ms / 1000 for state, ms in self._ms.items()}

    def watched(self, watched: bool) -> None:
        """Whether a client is connected."""
        self.count()
        self._watched = watched

    def playing(self, playing: bool) -> None:
        """Whether there is something to play."""
        if playing is not self._playing:
            self.count()
            self._playing = playing

    def made(self, frames: int, busy_s: float) -> None:
        """A chunk of so many pictures, which took the device so long."""
        if self._over:
            return
        self._ledger.add(self._tenant, self._model, "chunks", 1, self._claim)
        self._ledger.add(self._tenant, self._model, "frames", frames, self._claim)
        self._ledger.lasted(self._tenant, self._model, "busy_ms", round(busy_s * 1000), self._claim)

    def count(self) -> None:
        """Enter what has passed since the last time."""
        if self._over or self._claim.lost:
            return
        state, now_ms = self.state, self._now_ms()
        ms, self._at_ms = now_ms - self._at_ms, now_ms
        before_ms = self._ms[state]
        self._ms[state] += ms
        gpu_ms = int(self._share * self._ms[state]) - int(self._share * before_ms)  # so that nothing is lost in sum
        self._ledger.spent(self._tenant, self._model, state, ms, self._claim)
        self._ledger.lasted(self._tenant, self._model, f"gpu_{state.value}_ms", gpu_ms, self._claim)

    def stop(self) -> None:
        """The session is over here; once is enough."""
        self.count()
        self._over = True
        self._ledger.end(self)

    def was_ours(self) -> None:
        """Nobody else has had the session so far, whatever becomes of it before this is written."""
        self._claim.sure = True

    def _now_ms(self) -> int:
        return int(self._ledger.monotonic() * 1000)
