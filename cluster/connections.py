"""The connections of one session: who is there, who may come, and what all of them are told.

All are of the session's account. A connection's role is that of the token of its newest offer, so nothing that a token
does to another's connection raises it. A viewer's token has no say in a connection that a director has.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

import structlog

from cluster import metrics, tracing
from cluster.errors import Conflict, ConnectionTaken, UnknownConnection
from cluster.media.connection import Connection
from cluster.records import Grant
from cluster.settings import LimitSettings
from wire.frames import ServerMessage
from wire.http import FLAT_CONNECTION_ID, IceCandidates, Role, SdpOffer

log = structlog.get_logger(__name__)

CONNECTION_IDS = range(FLAT_CONNECTION_ID + 1, 10_000)
DIRECTORS_RESERVE = 2
"""Connections that viewers leave free: for a director, and for one that comes back before its old peer is given up."""


class Connections:
    """See the module. `make` makes a connection of an id. Use it inside the running loop."""

    def __init__(self, grant: Grant, limits: LimitSettings, make: Callable[[int], Connection]) -> None:
        self._grant = grant
        self._limits = limits
        self._make = make
        self._connections: dict[int, Connection] = {}
        self._unused: dict[int, asyncio.TimerHandle] = {}
        self._open: set[int] = set()
        self._offered_at: dict[int, float] = {}

    def __bool__(self) -> bool:
        """Whether a connection is open."""
        return bool(self._open)

    @property
    def ids(self) -> list[int]:
        """Of those that are known: open, answering, or yet to get an offer."""
        return list(self._connections)

    def create(self, role: Role) -> int:
        """A fresh connection id, from 1002 to 9999. Raises Conflict."""
        return self._add(secrets.choice([n for n in CONNECTION_IDS if n not in self._connections]), role).id

    def offer(self, connection_id: int, offer: SdpOffer, role: Role) -> None:
        """Answer an offer; raises as `get`, and InvalidOffer.

        The id may be one that this worker has never seen: a client that comes back.
        """
        self._get_or_add(connection_id, role).offer(offer, role)
        self._offered_at[connection_id] = time.monotonic()
        if (timer := self._unused.pop(connection_id, None)) is not None:
            timer.cancel()

    async def answer(self, connection_id: int, wait_s: float, role: Role) -> str | None:
        """The answer to the newest offer, None if it is not there after `wait_s`; raises as `get`, InvalidOffer and
        PortsExhausted."""
        connection = self.get(connection_id, role)
        sdp = await connection.answer(wait_s)
        _check(connection, role)  # a director may have come while the call was held
        return sdp

    async def add_candidates(self, connection_id: int, batch: IceCandidates, role: Role) -> None:
        """Trickled candidates; they may come before their offer, on an id never seen. Raises as `get`."""
        await self._get_or_add(connection_id, role).add_candidates(batch)

    def get(self, connection_id: int, role: Role = Role.DIRECTOR) -> Connection:
        """A connection by id.

        Raises:
            UnknownConnection: not known, or not a connection id at all.
            ConnectionTaken: a director has it, and the role is the viewer's.
            Conflict: the session has as many as it may have.
        """
        if connection_id not in self._connections:
            raise UnknownConnection(f"no connection {connection_id}")
        return _check(self._connections[connection_id], role)

    def opened(self, connection: Connection) -> None:
        """A peer is connected: for the first time, or again.

        Its client may have another connection here that is dead: whoever does not answer is no longer counted.
        """
        if (offered_at := self._offered_at.pop(connection.id, None)) is not None:
            took_s = time.monotonic() - offered_at
            tracing.span(
                "offer", self._grant.session_id, took_s, connection_id=connection.id, role=connection.role.value
            )
        for other in self._connections.values():
            if other is not connection and other.role is connection.role:  # no viewer puts a director to the test
                other.probe()
        if connection.id not in self._open:
            self._open.add(connection.id)
            metrics.CONNECTIONS.labels(self._grant.model).inc()

    def closed(self, connection: Connection) -> bool:
        """A connection is gone; False if it had never been open."""
        self._connections.pop(connection.id, None)
        self._offered_at.pop(connection.id, None)
        if connection.id not in self._open:
            return False
        self._open.remove(connection.id)
        metrics.CONNECTIONS.labels(self._grant.model).dec()
        return True

    def send(self, message: ServerMessage) -> None:
        """Tell every open connection."""
        for connection in self._connections.values():
            if connection.is_open:
                connection.send(message)

    async def close(self, said: str | None) -> None:
        """Close them all; `said` is the reason for which the session has ended, None if it goes on elsewhere."""
        for timer in self._unused.values():
            timer.cancel()
        await asyncio.gather(*(connection.close(ended=said) for connection in list(self._connections.values())))

    def _get_or_add(self, connection_id: int, role: Role) -> Connection:
        possible = connection_id in CONNECTION_IDS or connection_id == FLAT_CONNECTION_ID
        if possible and connection_id not in self._connections:
            return self._add(connection_id, role)
        return self.get(connection_id, role)

    def _add(self, connection_id: int, role: Role) -> Connection:
        if len(self._connections) >= self._limits.max_connections:
            raise Conflict(f"the session has {len(self._connections)} connections already")
        viewers = sum(connection.role is Role.VIEWER for connection in self._connections.values())
        if role is Role.VIEWER and viewers >= self._limits.max_connections - DIRECTORS_RESERVE:
            raise Conflict(f"the session has {viewers} viewers already")
        connection = self._connections[connection_id] = self._make(connection_id)
        connection.role = role
        loop = asyncio.get_running_loop()
        self._unused[connection_id] = loop.call_later(self._limits.connect_grace_s, self._forget, connection_id)
        return connection

    def _forget(self, connection_id: int) -> None:
        """Nobody has made an offer on it."""
        del self._unused[connection_id]
        del self._connections[connection_id]
        log.info("connection_unused", session_id=self._grant.session_id, connection_id=connection_id)


def _check(connection: Connection, role: Role) -> Connection:
    if role is Role.VIEWER and connection.role is Role.DIRECTOR and connection.offered:
        raise ConnectionTaken(f"connection {connection.id} is a director's")
    return connection
