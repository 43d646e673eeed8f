"""The gateway's only door into the cluster: keys, sessions and signalling, by session id and tenant.

Reads come from Redis; calls go to the worker that the record names; only a new session, a waiter's place and an end
concern the allocator. A worker's death turns into `Unavailable` here: the allocator is moving the session already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, Self

from redis.asyncio import Redis

from cluster.api import AllocatorApi, Health, Standing, WorkerGone, WorkerStatus
from cluster.archive import Archive
from cluster.catalogue import Catalogue
from cluster.clips import Segment
from cluster.errors import NotFound, NotReady, Unavailable
from cluster.footage import Footage
from cluster.intake import Digests, Intake
from cluster.integrity import Violation
from cluster.keys import ApiKey, KeyRing
from cluster.lookup import Lookup, WorkerOf, answered
from cluster.opening import Allowance, Opening
from cluster.records import PriorityClass
from cluster.saved import SavedSnapshots
from cluster.settings import Settings
from cluster.storage import open_storage
from cluster.store import Store
from cluster.throttle import Throttle
from cluster.usage import UsageStore
from cluster.views import Views
from cluster.watch import View, Watch
from wire.http import (
    CreateSession,
    IceCandidates,
    Role,
    SavedSnapshot,
    SaveSnapshot,
    SdpOffer,
    Session,
    SessionState,
)
from wire.uploads import CreateUpload
from wire.usage import DayUsage

__all__ = ["Allowance", "ApiKey", "ClusterClient", "View"]

READY_TIMEOUT_S = 2.0
NO_LIMITS = (Allowance(),)


class ClusterClient:
    """One per gateway process. `worker_of` finds a worker's handle by name; it raises WorkerGone."""

    def __init__(self, settings: Settings, redis: Redis, allocator: AllocatorApi, worker_of: WorkerOf) -> None:
        self._redis = redis
        self._allocator = allocator
        self._worker_of = worker_of
        self._store = Store(redis, settings)
        self._keys = KeyRing(redis, settings)
        self._throttle = Throttle(redis, settings)
        self._usage = UsageStore(redis, settings)
        self._intake = Intake(redis, settings)
        self._saved = SavedSnapshots(redis, self._store, settings)
        self._catalogue = Catalogue(settings)
        self._lookup = Lookup(self._store, worker_of, settings.limits.move_wait_s)
        self._footage = Footage(Archive(redis, open_storage(settings), settings), worker_of)
        self._views = Views(settings.cluster, self._store, allocator, self._catalogue)
        self._opening = Opening(
            settings, self._store, self._keys, self._saved, allocator, self._catalogue, self._lookup
        )
        self._watch = Watch(self._views.many)

    @classmethod
    async def connect(cls, settings: Settings) -> Self:
        """The client of the Ray cluster that this process belongs to; starts the allocator if it is not there."""
        from cluster import remote

        redis, allocator, worker_of = await remote.connect(settings)
        return cls(settings, redis, allocator, worker_of)

    async def close(self) -> None:
        """Close the connection to Redis."""
        await self._watch.close()
        await self._views.close()
        await self._opening.close()
        await self._redis.aclose()

    # --- keys -------------------------------------------------------------------------------------------------------

    async def resolve_key(self, raw_key: str) -> ApiKey | None:
        """The key, None if it is unknown or revoked."""
        return await answered(self._keys.resolve(raw_key))

    async def key_is_live(self, key_id: str) -> bool:
        """Whether the key exists and is not revoked."""
        return await answered(self._keys.is_live(key_id))

    async def key_retry_after_s(self, address: str, raw_key: str) -> int:
        """Seconds for which this address may not try this API key; 0: it may."""
        return await answered(self._throttle.retry_after_s(address, raw_key))

    async def key_failed(self, address: str, raw_key: str) -> None:
        """Count a wrong API key against its address."""
        await answered(self._throttle.failed(address, raw_key))

    async def jwt_secret(self) -> str:
        """The HS256 secret of this cluster's tokens."""
        return await answered(self._keys.jwt_secret())

    # --- models -----------------------------------------------------------------------------------------------------

    def models(self) -> list[str]:
        """Slugs of the models served, the default first."""
        return self._catalogue.names()

    def schema(self, model: str) -> dict[str, Any]:
        """The model's OpenAPI 3.1 document; raises UnknownModel."""
        return self._catalogue.schema(model)

    # --- sessions ---------------------------------------------------------------------------------------------------

    async def create_session(
        self,
        tenant: str,
        request: CreateSession,
        *,
        allowances: Sequence[Allowance] = NO_LIMITS,
        priority: PriorityClass = PriorityClass.NORMAL,
    ) -> Session:
        """A new session, with a worker at once where one is free.

        `allowances` are what the token allows, of which the first that has room counts. `priority` is the account's
        class if its API key has none of its own.

        Raises:
            UnknownModel, NotFound, Conflict, ScopeExhausted, QuotaExceeded, CreationsExceeded, QueueFull, Unavailable:
                nothing was created.
        """
        return self._views.of(*await self._opening.create(tenant, request, allowances, priority)).session

    async def get_session(self, tenant: str, session_id: str) -> Session:
        """The session object; raises NotFound."""
        key = (tenant, session_id)
        if view := (await self._views.still_waiting([key])).get(key):
            return view.session
        record = await self._lookup.record(tenant, session_id)
        place = None
        if record.state is SessionState.PENDING:
            place = (await self._views.places([record])).get(session_id)
            if place is None:  # granted between the two questions, or unknown to a new allocator
                record = await self._lookup.record(tenant, session_id)
        return self._views.of(record, place).session

    async def follow_session(self, tenant: str, session_id: str) -> AsyncIterator[View]:
        """The session now and at every change until it is over; raises NotFound. To listen is a sign of life."""
        return await self._watch.follow((tenant, session_id))

    async def list_sessions(self, tenant: str) -> list[Session]:
        """The tenant's sessions that are not over."""
        return [self._views.of(record).session for record in await answered(self._store.open_of(tenant))]

    async def restart_session(self, tenant: str, session_id: str) -> Session:
        """Give an INACTIVE session a worker again; it goes on from its snapshot. Raises NotFound,
        Conflict, QuotaExceeded, QueueFull.
        """
        return self._views.of(*await self._opening.restart(tenant, session_id)).session

    async def delete_session(self, tenant: str, session_id: str, reason: str | None) -> None:
        """End a session; again is no error. Raises NotFound."""
        record = await self._lookup.record(tenant, session_id)
        text = (reason or "deleted by the client")[:64]
        await answered(self._store.end(tenant, session_id, SessionState.CLOSED, text))
        if record.worker:
            with suppress(WorkerGone):  # the epoch has fenced it
                await (await self._worker_of(record.worker)).close(session_id, text)
        await self._allocator.cancel(record.model, session_id)

    async def end_all(self, reason: str) -> None:
        """End every session of the cluster, whoever's it is."""
        records = [record async for record in self._store.all_open()]
        await asyncio.gather(*(self.delete_session(one.tenant, one.session_id, reason) for one in records))

    # --- saved snapshots --------------------------------------------------------------------------------------------

    async def save_snapshot(self, tenant: str, session_id: str, request: SaveSnapshot) -> SavedSnapshot:
        """Keep the session's newest state. Raises NotFound, Conflict, QuotaExceeded."""
        record = await self._lookup.record(tenant, session_id)

        async def log() -> bytes | None:
            with suppress(NotFound, NotReady, Unavailable):  # as when it is INACTIVE, or on its way to another worker
                return await self._lookup.on_worker(tenant, session_id, lambda worker: worker.events(session_id))
            return None

        return (await answered(self._saved.save(record, request.name, request.grant, log))).view()

    async def saved_snapshots(self, tenant: str) -> list[SavedSnapshot]:
        """The account's own, oldest first."""
        return [record.view() for record in await answered(self._saved.all_of(tenant))]

    async def snapshot_events(self, tenant: str, snapshot_id: str) -> bytes:
        """The log that led to one. Raises NotFound."""
        return await answered(self._saved.events(tenant, snapshot_id))

    async def delete_snapshot(self, tenant: str, snapshot_id: str) -> None:
        """Forget one. Raises NotFound."""
        await answered(self._saved.delete(tenant, snapshot_id))

    # --- usage ------------------------------------------------------------------------------------------------------

    async def usage(self, tenant: str, first: date, last: date) -> list[DayUsage]:
        """The days from `first` to `last` on which the account has used something, the first one first."""
        return await answered(self._usage.days(tenant, first, last))

    # --- signalling -------------------------------------------------------------------------------------------------

    # `role` is what the asker's token is to the session. All raise NotFound, NotReady, Unavailable, and where a
    # connection is named UnknownConnection and ConnectionTaken.

    async def create_connection(self, tenant: str, session_id: str, role: Role = Role.DIRECTOR) -> int:
        """A fresh connection id. Raises Conflict when there are too many."""
        return await self._lookup.on_worker(
            tenant, session_id, lambda worker: worker.create_connection(session_id, role)
        )

    async def offer(
        self, tenant: str, session_id: str, connection_id: int, offer: SdpOffer, role: Role = Role.DIRECTOR
    ) -> None:
        """Have an offer answered; the connection's role is from now on this one. Raises InvalidOffer, Conflict."""
        await self._lookup.on_worker(
            tenant, session_id, lambda worker: worker.offer(session_id, connection_id, offer, role)
        )

    async def answer(
        self, tenant: str, session_id: str, connection_id: int, wait_s: float, role: Role = Role.DIRECTOR
    ) -> str | None:
        """The answer to the newest offer, None if it is not there after `wait_s`."""
        return await self._lookup.on_worker(
            tenant, session_id, lambda worker: worker.answer(session_id, connection_id, wait_s, role)
        )

    async def add_candidates(
        self, tenant: str, session_id: str, connection_id: int, batch: IceCandidates, role: Role = Role.DIRECTOR
    ) -> None:
        """Trickled candidates; they may come before their offer."""
        await self._lookup.on_worker(
            tenant, session_id, lambda worker: worker.add_candidates(session_id, connection_id, batch, role)
        )

    # --- uploads ----------------------------------------------------------------------------------------------------

    async def create_upload(self, tenant: str, session_id: str, request: CreateUpload) -> tuple[str, str]:
        """A slot for a file: its id and the token of its URL. Raises NotFound, UploadTooLarge, QuotaExceeded."""
        await self._lookup.open_record(tenant, session_id)
        upload, token = await answered(self._intake.create(tenant, session_id, request))
        return upload.upload_id, token

    async def receive_upload(
        self, token: str, body: AsyncIterator[bytes], length: int | None, digests: Digests
    ) -> None:
        """The bytes of a slot's file; raises as `Intake.receive`."""
        await answered(self._intake.receive(token, body, length, digests))

    # --- recordings -------------------------------------------------------------------------------------------------

    async def clip(
        self, tenant: str, session_id: str, epoch: int, start_s: float, end_s: float
    ) -> tuple[Segment, ...] | None:
        """The segments of a clip, None while the last is not there. Raises ClipGone, OutsideRecording, Unavailable."""
        return await self._footage.clip(tenant, session_id, epoch, start_s, end_s)

    async def recorded(self, tenant: str, session_id: str, epoch: int, name: str) -> bytes:
        """A file of a recording. Raises ClipGone, Unavailable."""
        return await self._footage.file(tenant, session_id, epoch, name)

    # --- health -----------------------------------------------------------------------------------------------------

    async def ready(self) -> Standing:
        """Which parts answer, and what stands in the way. It does not depend on free workers."""
        asked = (asyncio.wait_for(part, READY_TIMEOUT_S) for part in (self._redis.ping(), self._allocator.ping()))
        redis, health = await asyncio.gather(*asked, return_exceptions=True)
        checks = {name: not isinstance(part, BaseException) for name, part in (("redis", redis), ("allocator", health))}
        if not isinstance(health, Health):
            return Standing(checks, ())
        return Standing(checks | {"models": health.models}, health.troubles)

    async def check_integrity(self) -> frozenset[Violation]:
        """See `AllocatorApi.check_integrity`."""
        return await self._allocator.check_integrity()

    async def drain(self, target: str, deadline_s: float | None) -> list[str]:
        """See `AllocatorApi.drain`."""
        return await self._allocator.drain(target, deadline_s)

    async def workers(self) -> list[WorkerStatus]:
        """Every worker's last word."""
        return await self._allocator.workers()
