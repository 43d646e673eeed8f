"""What Redis holds of a session, and the grant that a worker receives. Typed, with one encoder and one decoder."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

from wire.http import ClientInfo, SessionState

TERMINAL = frozenset({SessionState.CLOSED, SessionState.INACTIVE})
HELD = frozenset({SessionState.WAITING, SessionState.ACTIVE, SessionState.SUSPENDED})


class PriorityClass(StrEnum):
    """Of an account. Strict: while one waits of a higher class, none of a lower class is served."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """Its place in the order of a queue; 0 is before all, for sessions that lost their worker."""
        return 1 + list(PriorityClass).index(self)


class SessionRecord(BaseModel):
    """The registry's entry of a session. Times are unix seconds.

    `epoch` counts ownership: it grows with every grant and with every end, and a write that carries an older one is
    refused. `worker` is the holder's name, empty while none.
    """

    model_config = ConfigDict(frozen=True)

    session_id: str
    tenant: str
    model: str
    state: SessionState
    created_at: float
    max_duration_s: int
    priority: PriorityClass = PriorityClass.NORMAL
    queued_at: float = 0.0
    """When a session that was reopened asked for a worker again."""
    epoch: int = 0
    worker: str = ""
    started_at: float = 0.0
    moves: int = 0
    warnings: int = 0
    """Of moderation."""
    reason: str = ""
    client: ClientInfo = ClientInfo()
    from_snapshot: str = ""
    """Id of the saved snapshot that it begins with."""

    def to_redis(self) -> dict[Any, Any]:
        """The fields of the Redis hash."""
        fields = self.model_dump(mode="json", exclude={"client"})
        return {name: str(value) for name, value in fields.items()} | {"client": self.client.model_dump_json()}

    @classmethod
    def from_redis(cls, fields: dict[str, str]) -> Self:
        """The record of a Redis hash."""
        return cls.model_validate({**fields, "client": ClientInfo.model_validate_json(fields["client"])})


class Move(StrEnum):
    """Why a session comes from another worker."""

    LOST = "worker_lost"
    """It was killed, hung, or lost its device: the session goes on from its last snapshot."""
    PLANNED = "planned"
    """It handed the session over: it goes on exactly."""


class Grant(BaseModel):
    """The right to run a session, until a newer epoch exists."""

    model_config = ConfigDict(frozen=True)

    record: SessionRecord
    """As it is with the grant, its epoch and its worker in it."""
    deadline: float
    """Unix seconds at which the session ends."""
    move: Move | None = None
    """Set if the session was another worker's."""

    @property
    def session_id(self) -> str:
        """Whose it is."""
        return self.record.session_id

    @property
    def tenant(self) -> str:
        """The session's account."""
        return self.record.tenant

    @property
    def model(self) -> str:
        """The session's model."""
        return self.record.model

    @property
    def epoch(self) -> int:
        """The session's epoch."""
        return self.record.epoch


class Ticket(BaseModel):
    """A session on its way to a worker."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    tenant: str
    model: str
    arrival: float
    priority: int = PriorityClass.NORMAL.rank
    """Lower goes first: 0 for sessions that lost their worker, else the rank of the account's class."""
    entry: str | None = None
    """The record of a session that begins with nothing, in JSON, should Redis lose it meanwhile."""

    @classmethod
    def of(cls, record: SessionRecord) -> Self:
        """That of a session that has yet to get its first worker: the same whoever makes it, and when."""
        return cls(
            session_id=record.session_id,
            tenant=record.tenant,
            model=record.model,
            arrival=record.queued_at or record.created_at,
            priority=record.priority.rank,
            entry=None if record.epoch or record.from_snapshot else record.model_dump_json(),
        )


class Place(NamedTuple):
    """A waiter's zero-based position, and the expected wait in seconds where something is known to go by."""

    position: int
    eta_s: float | None
    again: bool = False
    """Whether it had a worker, or nearly so: its record has changed since it was created."""
