"""Sessions as their accounts may see them: the record, and a waiter's place.

While a session waits for its first worker nothing of it changes but its place, and what waits the allocator knows. So
such a record is read once, and then the allocator alone is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from importlib.metadata import version

from cluster.api import AllocatorApi
from cluster.catalogue import Catalogue
from cluster.describe import capabilities
from cluster.errors import Unavailable
from cluster.lookup import answered
from cluster.places import Places
from cluster.records import HELD, Place, SessionRecord
from cluster.store import Store
from cluster.watch import Key, View
from wire.http import ModelRef, QueuePosition, ServerInfo, Session, SessionState, Transport

VERSION = version("longlive-cluster")
REMEMBERED = 10_000
"""Waiters whose view is kept, some 2 KB each: of more, those that came first are read again."""


class Views:
    """Of the sessions of one cluster. What asks Redis or the allocator raises Unavailable."""

    def __init__(self, cluster: str, store: Store, allocator: AllocatorApi, catalogue: Catalogue) -> None:
        self._cluster = cluster
        self._store = store
        self._places = Places(allocator)
        self._catalogue = catalogue
        self._waiting: dict[Key, View] = {}
        """Those that waited when they were last looked at."""

    def of(self, record: SessionRecord, place: Place | None = None) -> View:
        """The view of a session."""
        view = View(self._session(record, place), record.moves)
        if record.state is SessionState.PENDING and place is not None and not place.again:
            self._waiting[record.tenant, record.session_id] = view
            if len(self._waiting) > REMEMBERED:
                del self._waiting[next(iter(self._waiting))]
        return view

    def _session(self, record: SessionRecord, place: Place | None) -> Session:
        spec = self._catalogue.spec(record.model)
        held = record.state in HELD
        return Session(
            session_id=record.session_id,
            state=record.state,
            cluster=self._cluster,
            model=ModelRef(name=record.model, version=spec.version),
            server_info=ServerInfo(server_version=VERSION),
            selected_transport=Transport() if held else None,
            capabilities=capabilities(spec) if held else None,
            queue=QueuePosition(position=place.position, eta_s=place.eta_s) if place else None,
        )

    async def close(self) -> None:
        """Ask the allocator nothing more."""
        await self._places.close()

    async def many(self, keys: Collection[Key]) -> dict[Key, View]:
        """Those of these sessions that exist, by one question to Redis and some to the allocator."""
        waiting = await self.still_waiting(keys)
        found = await answered(self._store.get_many([key for key in keys if key not in waiting]))
        records = [record for record in found if record is not None]
        places = await self.places(record for record in records if record.state is SessionState.PENDING)
        with suppress(Unavailable):  # they go on without it
            places |= await self.places(record for record in records if record.state in HELD)  # who lost their worker
        return waiting | {
            (record.tenant, record.session_id): self.of(record, places.get(record.session_id)) for record in records
        }

    async def still_waiting(self, keys: Collection[Key]) -> dict[Key, View]:
        """Those of these sessions that waited when they were last looked at and do so still, not again; Redis is not
        asked."""
        waited = {key: view for key in keys if (view := self._waiting.get(key)) is not None}
        places = await self._places_of((view.session.model.name, key[1]) for key, view in waited.items())
        for key, view in waited.items():
            place = places.get(key[1])
            if place is None or place.again:
                self._waiting.pop(key, None)
            elif key in self._waiting:
                self._waiting[key] = _at(view, place)
        return {key: self._waiting[key] for key in waited if key in self._waiting}

    async def places(self, waiting: Iterable[SessionRecord]) -> dict[str, Place]:
        """By session id, the places of those that wait."""
        return await self._places_of((record.model, record.session_id) for record in waiting)

    async def _places_of(self, waiting: Iterable[tuple[str, str]]) -> dict[str, Place]:
        by_model: defaultdict[str, list[str]] = defaultdict(list)
        for model, session_id in waiting:
            by_model[model].append(session_id)
        places: dict[str, Place] = {}
        for model, session_ids in by_model.items():
            found = await self._places.of(model, session_ids)
            places |= {session_id: found[session_id] for session_id in session_ids if session_id in found}
        return places


def _at(view: View, place: Place) -> View:
    """The view of a waiter at this place: the same if that has not changed."""
    before = view.session.queue
    if before is not None and place[:2] == (before.position, before.eta_s):
        return view
    queue = QueuePosition(position=place.position, eta_s=place.eta_s)
    return View(view.session.model_copy(update={"queue": queue}), view.moves)
