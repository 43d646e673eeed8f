"""The gateway's only door into the cluster: keys, sessions and signalling, by session id and tenant.

Reads come from Redis; calls go to the worker that the record names; only a new session, a waiter's place and an end
concern the allocator. A worker's death turns into `Unavailable` here: the allocator is moving the session already.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Self, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from cluster.api import AllocatorApi, WorkerApi, WorkerGone, WorkerStatus
from cluster.archive import Archive
from cluster.clips import RecordingIndex, Segment
from cluster.describe import capabilities, openapi
from cluster.errors import ClipGone, Conflict, NotFound, NotReady, QuotaExceeded, Unavailable, UnknownModel
from cluster.intake import Digests, Intake
from cluster.keys import ApiKey, KeyLimits, KeyRing
from cluster.policy import Place
from cluster.records import HELD, TERMINAL, SessionRecord, Ticket
from cluster.saved import SavedSnapshots
from cluster.settings import Settings
from cluster.storage import open_storage
from cluster.store import Store
from cluster.throttle import Throttle
from cluster.watch import Key, View, Watch
from models import registry
from models.contract import ModelSpec
from wire.http import (
    CreateSession,
    IceCandidates,
    ModelRef,
    QueuePosition,
    SavedSnapshot,
    SaveSnapshot,
    SdpOffer,
    ServerInfo,
    Session,
    SessionState,
    Transport,
    model_slug,
)
from wire.uploads import CreateUpload

T = TypeVar("T")

__all__ = ["ApiKey", "ClusterClient", "View"]

READY_TIMEOUT_S = 2.0


class ClusterClient:
    """One per gateway process. `worker_of` finds a worker's handle by name; it raises WorkerGone."""

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        allocator: AllocatorApi,
        worker_of: Callable[[str], Awaitable[WorkerApi]],
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._store = Store(redis, settings)
        self._keys = KeyRing(redis, settings)
        self._throttle = Throttle(redis, settings)
        self._intake = Intake(redis, settings)
        self._archive = Archive(redis, open_storage(settings), settings)
        self._saved = SavedSnapshots(redis, self._store, settings)
        self._allocator = allocator
        self._worker_of = worker_of
        self._watch = Watch(self._views)
        self._specs = {
            pool.model: registry.find(pool.model, pool.preset, **pool.options).spec for pool in settings.pools
        }

    @classmethod
    async def connect(cls, settings: Settings) -> Self:
        """The client of the Ray cluster that this process belongs to; starts the allocator if it is not there."""
        from cluster import remote

        redis, allocator, worker_of = await remote.connect(settings)
        return cls(settings, redis, allocator, worker_of)

    async def close(self) -> None:
        """Close the connection to Redis."""
        await self._watch.close()
        await self._redis.aclose()

    # --- keys -------------------------------------------------------------------------------------------------------

    async def resolve_key(self, raw_key: str) -> ApiKey | None:
        """The key, None if it is unknown or revoked."""
        return await self._redis_call(self._keys.resolve(raw_key))

    async def key_is_live(self, key_id: str) -> bool:
        """Whether the key exists and is not revoked."""
        return await self._redis_call(self._keys.is_live(key_id))

    async def key_retry_after_s(self, address: str, raw_key: str) -> int:
        """Seconds for which this address may not try this API key; 0: it may."""
        return await self._redis_call(self._throttle.retry_after_s(address, raw_key))

    async def key_failed(self, address: str, raw_key: str) -> None:
        """Count a wrong API key against its address."""
        await self._redis_call(self._throttle.failed(address, raw_key))

    async def jwt_secret(self) -> str:
        """The HS256 secret of this cluster's tokens."""
        return await self._redis_call(self._keys.jwt_secret())

    # --- models -----------------------------------------------------------------------------------------------------

    def models(self) -> list[str]:
        """Slugs of the models served, the default first."""
        return list(self._specs)

    def schema(self, model: str) -> dict[str, Any]:
        """The model's OpenAPI 3.1 document; raises UnknownModel."""
        return openapi(self._spec(model))

    # --- sessions ---------------------------------------------------------------------------------------------------

    async def create_session(
        self, tenant: str, request: CreateSession, *, max_duration_s: int | None = None
    ) -> Session:
        """A new session, with a worker at once where one is free.

        Raises:
            UnknownModel, NotFound, Conflict, QuotaExceeded, QueueFull, Unavailable: nothing was created.
        """
        spec = self._spec(request.model.name)
        planted = await self._planted(tenant, spec, request.from_snapshot)
        own = await self._redis_call(self._keys.limits(tenant))
        await self._check_quota(tenant, own)
        record = SessionRecord(
            session_id=str(uuid.uuid4()),
            tenant=tenant,
            model=spec.name,
            state=SessionState.PENDING,
            created_at=time.time(),
            max_duration_s=min(filter(None, (max_duration_s, own.max_session_s, self._settings.limits.max_session_s))),
            client=request.client_info,
        )
        if planted is not None:
            await self._redis_call(self._store.plant_snapshot(tenant, record.session_id, planted))
        await self._redis_call(self._store.create(record))
        return await self._acquire(record)

    async def get_session(self, tenant: str, session_id: str) -> Session:
        """The session object; raises NotFound."""
        record = await self._record(tenant, session_id)
        place = None
        if record.state is SessionState.PENDING:
            place = (await self._allocator.places(record.model, [session_id])).get(session_id)
            if place is None:  # granted between the two questions, or unknown to a new allocator
                record = await self._record(tenant, session_id)
        return self._view(record, place)

    async def follow_session(self, tenant: str, session_id: str) -> AsyncIterator[View]:
        """The session now and at every change until it is over; raises NotFound. To listen is a sign of life."""
        return await self._watch.follow((tenant, session_id))

    async def list_sessions(self, tenant: str) -> list[Session]:
        """The tenant's sessions that are not over."""
        records = await self._redis_call(self._store.open_of(tenant))
        return [self._view(record, None) for record in records]

    async def restart_session(self, tenant: str, session_id: str) -> Session:
        """Give an INACTIVE session a worker again; it goes on from its snapshot. Raises NotFound,
        Conflict, QuotaExceeded.
        """
        record = await self._record(tenant, session_id)
        await self._check_quota(tenant, await self._redis_call(self._keys.limits(tenant)))
        if not await self._redis_call(self._store.reopen(tenant, session_id)):
            raise Conflict(f"the session is {record.state.value}, not INACTIVE")
        return await self._acquire(await self._record(tenant, session_id), otherwise=SessionState.INACTIVE)

    async def delete_session(self, tenant: str, session_id: str, reason: str | None) -> None:
        """End a session; again is no error. Raises NotFound."""
        record = await self._record(tenant, session_id)
        text = (reason or "deleted by the client")[:64]
        await self._redis_call(self._store.end(tenant, session_id, SessionState.CLOSED, text))
        if record.worker:
            with suppress(WorkerGone):  # the epoch has fenced it
                await (await self._worker_of(record.worker)).close(session_id, text)
        await self._allocator.cancel(record.model, session_id)

    # --- saved snapshots --------------------------------------------------------------------------------------------

    async def save_snapshot(self, tenant: str, session_id: str, request: SaveSnapshot) -> SavedSnapshot:
        """Keep the session's newest state. Raises NotFound, Conflict, QuotaExceeded."""
        record = await self._record(tenant, session_id)
        return (await self._redis_call(self._saved.save(record, request.name, request.grant))).view()

    async def saved_snapshots(self, tenant: str) -> list[SavedSnapshot]:
        """The account's own, oldest first."""
        return [record.view() for record in await self._redis_call(self._saved.all_of(tenant))]

    async def delete_snapshot(self, tenant: str, snapshot_id: str) -> None:
        """Forget one. Raises NotFound."""
        await self._redis_call(self._saved.delete(tenant, snapshot_id))

    async def _planted(self, tenant: str, spec: ModelSpec, snapshot_id: str | None) -> bytes | None:
        if snapshot_id is None:
            return None
        saved = await self._redis_call(self._saved.find(tenant, snapshot_id))
        if saved.model != spec.name:
            raise Conflict(f"the snapshot is one of {saved.model}, not of {spec.name}")
        return await self._redis_call(self._saved.data(snapshot_id))

    # --- signalling -------------------------------------------------------------------------------------------------

    async def create_connection(self, tenant: str, session_id: str) -> int:
        """A fresh connection id. Raises NotFound, NotReady, Unavailable, as all of this group do."""
        return await self._on_worker(tenant, session_id, lambda worker: worker.create_connection(session_id))

    async def offer(self, tenant: str, session_id: str, connection_id: int, offer: SdpOffer) -> None:
        """Have an offer answered; raises UnknownConnection for a number that cannot be one, InvalidOffer."""
        await self._on_worker(tenant, session_id, lambda worker: worker.offer(session_id, connection_id, offer))

    async def answer(self, tenant: str, session_id: str, connection_id: int, wait_s: float) -> str | None:
        """The answer to the newest offer, None if it is not there after `wait_s`; raises UnknownConnection."""
        return await self._on_worker(
            tenant, session_id, lambda worker: worker.answer(session_id, connection_id, wait_s)
        )

    async def add_candidates(self, tenant: str, session_id: str, connection_id: int, batch: IceCandidates) -> None:
        """Trickled candidates; they may come before their offer. Raises UnknownConnection."""
        await self._on_worker(
            tenant, session_id, lambda worker: worker.add_candidates(session_id, connection_id, batch)
        )

    # --- uploads ----------------------------------------------------------------------------------------------------

    async def create_upload(self, tenant: str, session_id: str, request: CreateUpload) -> tuple[str, str]:
        """A slot for a file: its id and the token of its URL. Raises NotFound, UploadTooLarge, QuotaExceeded."""
        record = await self._record(tenant, session_id)
        if record.state in TERMINAL:
            raise NotFound(f"session {session_id} is {record.state.value}")
        upload, token = await self._redis_call(self._intake.create(tenant, session_id, request))
        return upload.upload_id, token

    async def receive_upload(
        self, token: str, body: AsyncIterator[bytes], length: int | None, digests: Digests
    ) -> None:
        """The bytes of a slot's file; raises as `Intake.receive`."""
        await self._redis_call(self._intake.receive(token, body, length, digests))

    # --- recordings -------------------------------------------------------------------------------------------------

    async def clip(
        self, tenant: str, session_id: str, epoch: int, start_s: float, end_s: float
    ) -> tuple[Segment, ...] | None:
        """The segments of a clip, None while the last is not there. Raises ClipGone, OutsideRecording, Unavailable."""
        index = await self._redis_call(self._archive.find(tenant, session_id, epoch))
        if not index.stored:
            with suppress(WorkerGone, ClipGone):
                return await (await self._worker_of(index.worker)).clip(session_id, epoch, start_s, end_s)
            index = await self._stored(tenant, session_id, epoch)
        return index.clip(start_s, end_s)

    async def recorded(self, tenant: str, session_id: str, epoch: int, name: str) -> bytes:
        """A file of a recording. Raises ClipGone, Unavailable."""
        index = await self._redis_call(self._archive.find(tenant, session_id, epoch))
        if not index.stored:
            with suppress(WorkerGone, ClipGone):
                return await (await self._worker_of(index.worker)).recorded(session_id, epoch, name)
            index = await self._stored(tenant, session_id, epoch)
        return await self._archive.read(index, name)

    async def _stored(self, tenant: str, session_id: str, epoch: int) -> RecordingIndex:
        """The entry of a recording that its worker has no more: by now it is archived, or lost."""
        index = await self._redis_call(self._archive.find(tenant, session_id, epoch))
        if not index.stored:
            raise ClipGone("the recording is no longer kept")
        return index

    # --- health -----------------------------------------------------------------------------------------------------

    async def ready(self) -> dict[str, bool]:
        """Which parts answer. It does not depend on free workers."""
        parts = {"redis": self._redis.ping(), "allocator": self._allocator.ping()}
        checks = (asyncio.wait_for(part, READY_TIMEOUT_S) for part in parts.values())
        results = await asyncio.gather(*checks, return_exceptions=True)
        return {name: not isinstance(result, BaseException) for name, result in zip(parts, results, strict=True)}

    async def workers(self) -> list[WorkerStatus]:
        """Every worker's last word."""
        return await self._allocator.workers()

    # --- many sessions at once --------------------------------------------------------------------------------------

    async def _views(self, keys: Collection[Key]) -> dict[Key, View]:
        records = [record for record in await self._redis_call(self._store.get_many(list(keys))) if record is not None]
        places = await self._places([record for record in records if record.state is SessionState.PENDING])
        return {
            (record.tenant, record.session_id): View(self._view(record, places.get(record.session_id)), record.moves)
            for record in records
        }

    async def _places(self, waiting: Sequence[SessionRecord]) -> dict[str, Place]:
        by_model: defaultdict[str, list[str]] = defaultdict(list)
        for record in waiting:
            by_model[record.model].append(record.session_id)
        places: dict[str, Place] = {}
        for model, session_ids in by_model.items():
            places |= await self._allocator.places(model, session_ids)
        return places

    # --- small things -----------------------------------------------------------------------------------------------

    async def _acquire(self, record: SessionRecord, otherwise: SessionState = SessionState.CLOSED) -> Session:
        fields = record.model_dump(include={"session_id", "tenant", "model"})
        admitted = False
        try:
            place = await self._allocator.acquire(Ticket(**fields, arrival=time.time()))
            admitted = True
        finally:
            if not admitted:
                await self._store.end(record.tenant, record.session_id, otherwise, "not admitted")
        return self._view(await self._record(record.tenant, record.session_id), place)

    async def _check_quota(self, tenant: str, own: KeyLimits) -> None:
        limit = self._settings.limits.max_sessions_per_tenant if own.max_sessions is None else own.max_sessions
        if len(await self._redis_call(self._store.open_of(tenant))) >= limit:
            raise QuotaExceeded(f"at most {limit} open sessions")

    async def _record(self, tenant: str, session_id: str) -> SessionRecord:
        record = await self._redis_call(self._store.get(tenant, session_id))
        if record is None:
            raise NotFound(f"no session {session_id}")
        return record

    async def _on_worker(self, tenant: str, session_id: str, call: Callable[[WorkerApi], Awaitable[T]]) -> T:
        record = await self._record(tenant, session_id)
        if record.state in TERMINAL:
            raise NotFound(f"session {session_id} is {record.state.value}")
        if not record.worker:
            raise NotReady("the session waits for a worker")
        try:
            return await call(await self._worker_of(record.worker))
        except WorkerGone:
            raise Unavailable("the session's worker is gone; the session is moving to another one") from None

    async def _redis_call(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except RedisError as error:
            raise Unavailable("the session registry does not answer") from error

    def _spec(self, model: str) -> ModelSpec:
        try:
            return self._specs[model_slug(model)]
        except KeyError:
            raise UnknownModel(f"no model named {model}; served here: {', '.join(self._specs)}") from None

    def _view(self, record: SessionRecord, place: Place | None) -> Session:
        held = record.state in HELD
        return Session(
            session_id=record.session_id,
            state=record.state,
            cluster=self._settings.cluster,
            model=ModelRef(name=record.model, version=self._specs[record.model].version),
            server_info=ServerInfo(server_version=version("longlive-cluster")),
            selected_transport=Transport() if held else None,
            capabilities=capabilities(self._specs[record.model]) if held else None,
            queue=QueuePosition(position=place.position, eta_s=place.eta_s) if place else None,
        )
