"""Sessions as their accounts may see them: the record, and a waiter's place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from importlib.metadata import version

from cluster.api import AllocatorApi
from cluster.catalogue import Catalogue
from cluster.describe import capabilities
from cluster.lookup import answered
from cluster.records import HELD, Place, SessionRecord
from cluster.store import Store
from cluster.watch import Key, View
from wire.http import ModelRef, QueuePosition, ServerInfo, Session, SessionState, Transport


class Views:
    """Of the sessions of one cluster. What asks Redis or the allocator raises Unavailable."""

    def __init__(self, cluster: str, store: Store, allocator: AllocatorApi, catalogue: Catalogue) -> None:
        self._cluster = cluster
        self._store = store
        self._allocator = allocator
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
            server_info=ServerInfo(server_version=version("longlive-cluster")),
            selected_transport=Transport() if held else None,
            capabilities=capabilities(spec) if held else None,
            queue=QueuePosition(position=place.position, eta_s=place.eta_s) if place else None,
        )

    async def many(self, keys: Collection[Key]) -> dict[Key, View]:
        """Those of these sessions that exist, by one question to Redis and one per model to the allocator."""
        found = await answered(self._store.get_many(list(keys)))
        records = [record for record in found if record is not None]
        places = await self.places([record for record in records if record.state is SessionState.PENDING])
        return {
            (record.tenant, record.session_id): View(self.of(record, places.get(record.session_id)), record.moves)
            for record in records
        }

    async def places(self, waiting: Sequence[SessionRecord]) -> dict[str, Place]:
        """By session id, the places of those that wait."""
        by_model: defaultdict[str, list[str]] = defaultdict(list)
        for record in waiting:
            by_model[record.model].append(record.session_id)
        places: dict[str, Place] = {}
        for model, session_ids in by_model.items():
            places |= await self._allocator.places(model, session_ids)
        return places
