"""What Redis holds of a session, and the grant that a worker receives. Typed, with one encoder and one decoder."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from wire.http import ClientInfo, SessionState

TERMINAL = frozenset({SessionState.CLOSED, SessionState.INACTIVE})
HELD = frozenset({SessionState.WAITING, SessionState.ACTIVE, SessionState.SUSPENDED})


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
    epoch: int = 0
    worker: str = ""
    started_at: float = 0.0
    moves: int = 0
    reason: str = ""
    client: ClientInfo = ClientInfo()

    def to_redis(self) -> dict[Any, Any]:
        """The fields of the Redis hash."""
        fields = self.model_dump(mode="json", exclude={"client"})
        return {name: str(value) for name, value in fields.items()} | {"client": self.client.model_dump_json()}

    @classmethod
    def from_redis(cls, fields: dict[str, str]) -> Self:
        """The record of a Redis hash."""
        return cls.model_validate({**fields, "client": ClientInfo.model_validate_json(fields["client"])})


class Grant(BaseModel):
    """The right to run a session, until a newer epoch exists."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    tenant: str
    model: str
    epoch: int
    deadline: float
    """Unix seconds at which the session ends."""


class Ticket(BaseModel):
    """A session on its way to a worker."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    tenant: str
    model: str
    arrival: float
    priority: int = 1
    """Lower goes first: 0 for sessions that lost their worker, 1 for new ones."""
