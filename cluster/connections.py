"""The connections of one session: who is there, who may come, and what all of them are told."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import structlog

from cluster import metrics
from cluster.errors import Conflict, UnknownConnection
from cluster.media.connection import Connection
from cluster.records import Grant
from cluster.settings import LimitSettings
from wire.frames import ServerMessage
from wire.http import FLAT_CONNECTION_ID, SdpOffer

log = structlog.get_logger(__name__)

CONNECTION_IDS = range(FLAT_CONNECTION_ID + 1, 10_000)


class Connections:
    """See the module. `make` makes a connection of an id. Use it inside the running loop."""

    def __init__(self, grant: Grant, limits: LimitSettings, make: Callable[[int], Connection]) -> None:
        self._grant = grant
        self._limits = limits
        self._make = make
        self._connections: dict[int, Connection] = {}
        self._unused: dict[int, asyncio.TimerHandle] = {}
        self._open: set[int] = set()

    def __bool__(self) -> bool:
        """Whether a connection is open."""
        return bool(self._open)

    @property
    def ids(self) -> list[int]:
        """Of those that are known: open, answering, or yet to get an offer."""
        return list(self._connections)

    def create(self) -> int:
        """A fresh connection id, from 1002 to 9999. Raises Conflict."""
        return self._add(secrets.choice([n for n in CONNECTION_IDS if n not in self._connections])).id

    def offer(self, connection_id: int, offer: SdpOffer) -> None:
        """Answer an offer; raises as `get`, and InvalidOffer."""
        self.get(connection_id, create=True).offer(offer)
        if (timer := self._unused.pop(connection_id, None)) is not None:
            timer.cancel()

    def get(self, connection_id: int, *, create: bool = False) -> Connection:
        """A connection by id. An offer may name one that this worker has never seen: a client that comes back.

        Raises:
            UnknownConnection: not known, or not a connection id at all.
            Conflict: the session has as many as it may have.
        """
        if connection_id in self._connections:
            return self._connections[connection_id]
        if not create or (connection_id not in CONNECTION_IDS and connection_id != FLAT_CONNECTION_ID):
            raise UnknownConnection(f"no connection {connection_id}")
        return self._add(connection_id)

    def opened(self, connection: Connection) -> None:
        """A peer is connected: for the first time, or again."""
        if connection.id not in self._open:
            self._open.add(connection.id)
            metrics.CONNECTIONS.labels(self._grant.model).inc()

    def closed(self, connection: Connection) -> bool:
        """A connection is gone; False if it had never been open."""
        self._connections.pop(connection.id, None)
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

    def _add(self, connection_id: int) -> Connection:
        if len(self._connections) >= self._limits.max_connections:
            raise Conflict(f"the session has {len(self._connections)} connections already")
        connection = self._connections[connection_id] = self._make(connection_id)
        loop = asyncio.get_running_loop()
        self._unused[connection_id] = loop.call_later(self._limits.connect_grace_s, self._forget, connection_id)
        return connection

    def _forget(self, connection_id: int) -> None:
        """Nobody has made an offer on it."""
        del self._unused[connection_id]
        del self._connections[connection_id]
        log.info("connection_unused", session_id=self._grant.session_id, connection_id=connection_id)
