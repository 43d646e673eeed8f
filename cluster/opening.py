"""How a session comes to be: its account's limits, its entry in Redis, and its place at the allocator."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from cluster.api import AllocatorApi
from cluster.catalogue import Catalogue
from cluster.errors import Conflict, QueueFull, ScopeExhausted
from cluster.keys import KeyLimits, KeyRing
from cluster.lookup import Lookup, answered
from cluster.quota import Quota
from cluster.records import Place, PriorityClass, SessionRecord, Ticket
from cluster.saved import SavedSnapshots
from cluster.settings import Settings
from cluster.store import Store
from cluster.together import Together
from wire.http import CreateSession, SessionState

ACQUIRING = 4
"""Calls to the allocator that may be on their way for a model: one can be long, while a worker opens a session."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a token allows: a session while less than `max_sessions` are open on `models`. None is no limit."""

    max_duration_s: int | None = None
    max_sessions: int | None = None
    models: frozenset[str] | None = None


class Opening:
    """Of the sessions of one cluster. All methods raise Unavailable."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: KeyRing,
        saved: SavedSnapshots,
        allocator: AllocatorApi,
        catalogue: Catalogue,
        lookup: Lookup,
    ) -> None:
        self._limits = settings.limits
        self._store = store
        self._keys = keys
        self._saved = saved
        self._allocator = allocator
        self._acquiring: dict[str, Together[Ticket, Place | None]] = {
            model: Together(partial(self._ask, model), ACQUIRING) for model in catalogue.names()
        }
        self._catalogue = catalogue
        self._lookup = lookup

    async def close(self) -> None:
        """Ask the allocator nothing more."""
        for calls in self._acquiring.values():
            await calls.close()

    async def create(
        self, tenant: str, request: CreateSession, allowances: Sequence[Allowance], priority: PriorityClass
    ) -> tuple[SessionRecord, Place | None]:
        """A new session under the first of the allowances that has room. Raises as `ClusterClient.create_session`."""
        model = self._catalogue.spec(request.model.name).name
        snapshot = await self._snapshot(tenant, model, request.from_snapshot)
        own = await answered(self._keys.limits(tenant))
        record = SessionRecord(
            session_id=str(uuid.uuid4()),
            tenant=tenant,
            model=model,
            state=SessionState.PENDING,
            created_at=time.time(),
            max_duration_s=min(filter(None, (own.max_session_s, self._limits.max_session_s))),
            priority=own.priority or priority,
            client=request.client_info,
            from_snapshot=request.from_snapshot or "",
        )
        return await self._acquire(await self._enter(record, own, allowances, snapshot), SessionState.CLOSED)

    async def restart(self, tenant: str, session_id: str) -> tuple[SessionRecord, Place | None]:
        """An INACTIVE session waits again. Raises NotFound, Conflict, QuotaExceeded, QueueFull."""
        record = await self._lookup.record(tenant, session_id)
        quota = Quota(open_sessions=self._most_open(await answered(self._keys.limits(tenant))))
        if not await answered(self._store.reopen(tenant, session_id, quota)):
            raise Conflict(f"the session is {record.state.value}, not INACTIVE")
        return await self._acquire(await self._lookup.record(tenant, session_id), SessionState.INACTIVE)

    async def _snapshot(self, tenant: str, model: str, snapshot_id: str | None) -> bytes:
        if snapshot_id is None:
            return b""
        saved = await answered(self._saved.find(tenant, snapshot_id))
        if saved.model != model:
            raise Conflict(f"the snapshot is one of {saved.model}, not of {model}")
        return await answered(self._saved.data(snapshot_id))

    async def _enter(
        self, record: SessionRecord, own: KeyLimits, allowances: Sequence[Allowance], snapshot: bytes
    ) -> SessionRecord:
        refusal: ScopeExhausted | None = None
        for allowance in allowances:
            quota = Quota(
                open_sessions=self._most_open(own),
                created=own.max_creations_per_minute or self._limits.max_creations_per_minute,
                of_scope=allowance.max_sessions,
                scope=allowance.models,
            )
            longest = min(filter(None, (record.max_duration_s, allowance.max_duration_s)))
            allowed = record.model_copy(update={"max_duration_s": longest})
            try:
                await answered(self._store.create(allowed, quota, snapshot))
            except ScopeExhausted as error:
                refusal = error
            else:
                return allowed
        raise refusal or ScopeExhausted("the token allows no session")

    def _most_open(self, own: KeyLimits) -> int:
        return self._limits.max_sessions_per_tenant if own.max_sessions is None else own.max_sessions

    async def _acquire(self, record: SessionRecord, otherwise: SessionState) -> tuple[SessionRecord, Place | None]:
        """Ask for a worker; a session that is not admitted is ended as `otherwise`."""
        admitted = False
        try:
            place = await self._acquiring[record.model](Ticket.of(record))
            admitted = True
            if place is not None:
                return record, place
        finally:
            if not admitted:
                await self._store.end(record.tenant, record.session_id, otherwise, "not admitted")
        return await self._lookup.record(record.tenant, record.session_id), place

    async def _ask(self, model: str, tickets: list[Ticket]) -> Sequence[Place | QueueFull | None]:
        return await self._allocator.acquire(model, tickets)
