"""Sessions as their accounts may see them: the record, and a waiter's place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
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
NONE_BEFORE: Mapping[Key, View] = {}


class Views:
    """Of the sessions of one cluster. What asks Redis or the allocator raises Unavailable."""

    def __init__(self, cluster: str, store: Store, allocator: AllocatorApi, catalogue: Catalogue) -> None:
        self._cluster = cluster
        self._store = store
        self._places = Places(allocator)
        self._catalogue = catalogue

    def of(self, record: SessionRecord, place: Place | None = None) -> Session:
        """The session object."""
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

    async def many(self, keys: Collection[Key], before: Mapping[Key, View] = NONE_BEFORE) -> dict[Key, View]:
        """Those of these sessions that exist, by one question to Redis and one per model to the allocator. Redis is not
        asked for those that waited in the view `before` and still do."""
        waiting = await self._still_waiting({key: before[key] for key in keys if key in before})
        found = await answered(self._store.get_many([key for key in keys if key not in waiting]))
        records = [record for record in found if record is not None]
        places = await self.places([record for record in records if record.state is SessionState.PENDING])
        with suppress(Unavailable):  # they go on without it
            places |= await self.places([record for record in records if record.state in HELD])  # who lost their worker
        return waiting | {
            (record.tenant, record.session_id): View(self.of(record, places.get(record.session_id)), record.moves)
            for record in records
        }

    async def _still_waiting(self, before: Mapping[Key, View]) -> dict[Key, View]:
        waited = {key: view for key, view in before.items() if view.session.state is SessionState.PENDING}
        places = await self._places_of((view.session.model.name, key[1]) for key, view in waited.items())
        return {key: _at(view, place) for key, view in waited.items() if (place := places.get(key[1])) is not None}

    async def places(self, waiting: Sequence[SessionRecord]) -> dict[str, Place]:
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
    if before is not None and place == (before.position, before.eta_s):
        return view
    queue = QueuePosition(position=place.position, eta_s=place.eta_s)
    return View(view.session.model_copy(update={"queue": queue}), view.moves)
