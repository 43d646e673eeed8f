"""The allocator: the thin actor around `cluster.policy`. It holds no truth.

Who holds what is known by the workers (`cluster.fleet`); which sessions exist, by Redis. A new allocator asks both and
goes on, and so an allocator that meets the unforeseen is best ended: `crash` is called then.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog
from redis.exceptions import RedisError

from cluster import metrics
from cluster.api import Health, WorkerGone, WorkerState, WorkerStatus
from cluster.clock import SteadyClock
from cluster.departures import Departure, Departures
from cluster.disks import Disks, folders
from cluster.errors import Conflict, NotFound, NotReady, QueueFull, Unavailable, UnknownModel, UnknownWorker
from cluster.fleet import Backend, Fleet
from cluster.inspection import facts
from cluster.integrity import Inspector, Violation, violations
from cluster.janitor import keep_clean
from cluster.ledger import Ledger
from cluster.policy import Pool, by_model
from cluster.records import TERMINAL, Grant, Move, Place, SessionRecord, Ticket
from cluster.recovery import settle, tickets
from cluster.settings import Settings
from cluster.slots import Slots
from cluster.storage import open_storage
from cluster.store import RecordUnreadable, Store
from cluster.tasks import Tasks
from cluster.troubles import health
from cluster.upkeep import Upkeep
from cluster.usage import UsageStore
from cluster.waits import Waits
from cluster.words import NoWord, word_of
from wire.http import SessionState

log = structlog.get_logger(__name__)

MAX_MOVES = 3
"""A session that has lost this many workers is ended: it may be what kills them."""
TICK_S = 1.0
LATE_S = 15.0
"""A session asks at most so long after it was created, whatever its gateway's clock says."""


class Allocator:
    """Implements `cluster.api.AllocatorApi`. Make it inside a running loop."""

    def __init__(
        self, settings: Settings, store: Store, backend: Backend, crash: Callable[[], None] | None = None
    ) -> None:
        self._settings = settings
        self._store = store
        self._pools = by_model(settings.pools, settings.limits.max_queue)
        self._tasks = Tasks("allocator", failed=crash)
        self._clock = SteadyClock()
        self._fleet = Fleet(settings, backend, self._tasks, heard=self._heard, lost=self._lost, now=self._clock.now)
        self._grants: dict[str, int] = {}
        """By session id, the first `seq` of its worker that knows of it."""
        self._granting: set[str] = set()
        self._ledger = Ledger(UsageStore(store.redis, settings))
        self._waits = Waits(self._ledger, self._clock.now)
        self._departures = Departures(self._clock.now)
        self._upkeep = Upkeep(store, settings.limits.record_ttl_s, self._waiting, self._still_asked, self._lose_waiter)
        self._disks = Disks(folders(settings, recordings=False))
        metrics.begin_allocator(self._pools)
        self._look_at = 0.0
        self._kick = asyncio.Event()
        self._recovered = asyncio.Event()
        self._tasks.start(self._main())
        self._tasks.start(keep_clean(open_storage(settings), settings))
        self._tasks.start(self._disks.run())
        self._tasks.start(self._inspect())
        self._tasks.start(self._ledger.run())

    # --- api --------------------------------------------------------------------------------------------------------

    async def acquire(self, model: str, tickets: Sequence[Ticket]) -> list[Place | QueueFull | None]:
        """See `AllocatorApi.acquire`."""
        await self._recovered.wait()
        pool = self._pool(model)
        refused: dict[str, QueueFull] = {}
        for ticket in tickets:
            await self._drop_former_hold(pool, ticket)
        for ticket in tickets:
            try:
                self._enqueue(pool, ticket)
            except QueueFull as refusal:
                refused[ticket.session_id] = refusal
        await self._serve(pool)
        self._kick.set()
        places = pool.places([ticket.session_id for ticket in tickets], self._clock.now())
        for session_id, place in places.items():
            self._waits.promised(session_id, place.eta_s)
        return [refused.get(ticket.session_id) or places.get(ticket.session_id) for ticket in tickets]

    def _enqueue(self, pool: Pool, ticket: Ticket) -> None:
        now = self._clock.now()
        arrival = min(now, max(now - LATE_S, self._clock.of(ticket.arrival)))
        pool.enqueue(ticket.model_copy(update={"arrival": arrival}), now)
        self._waits.asked([ticket.session_id])

    async def places(self, model: str, session_ids: Sequence[str]) -> dict[str, Place]:
        """See `AllocatorApi.places`."""
        await self._recovered.wait()
        found = self._pool(model).places(session_ids, self._clock.now())
        self._waits.asked(found)
        return found

    async def cancel(self, model: str, session_id: str) -> None:
        """See `AllocatorApi.cancel`."""
        await self._recovered.wait()
        pool = self._pool(model)
        worker = pool.holder(session_id)
        if worker is not None and (handle := self._fleet.handles.get(worker.name)) is not None:
            with suppress(WorkerGone):  # granted after the caller had looked who holds it
                await handle.close(session_id, "deleted by the client")
        self._forget(pool, session_id)

    async def drain(self, target: str, deadline_s: float | None) -> list[str]:
        """See `AllocatorApi.drain`."""
        await self._recovered.wait()
        if deadline_s is not None and not 0 <= deadline_s < math.inf:
            raise Conflict("the deadline of a drain is a number of seconds from now on")
        leave_by = None if deadline_s is None else time.time() + deadline_s
        names = sorted(s.name for s in self._fleet.statuses.values() if target in (s.name, s.node))
        if not names:
            raise UnknownWorker(f"no worker and no node named {target}")
        for name in names:
            self._departures.set(name, None if deadline_s is None else self._clock.now() + deadline_s)
            self._fleet.drain(self._pool(self._fleet.statuses[name].model), name, leave_by)
        self._look_at = 0.0
        self._kick.set()
        return names

    async def workers(self) -> list[WorkerStatus]:
        """See `AllocatorApi.workers`."""
        await self._recovered.wait()
        return list(self._fleet.statuses.values())

    async def check_integrity(self) -> frozenset[Violation]:
        """See `AllocatorApi.check_integrity`."""
        await self._recovered.wait()
        patience_s = self._settings.limits.heartbeat_s
        try:
            await self._store.redis.ping()  # fails where a full disk keeps Redis from writing; to read would not
            found = await facts(self._settings.cluster, self._store, self._pools.values(), self._fleet, patience_s)
        except RedisError as error:
            metrics.REDIS_UP.labels("allocator").set(0)
            raise Unavailable("the session registry does not answer") from error
        metrics.REDIS_UP.labels("allocator").set(1)
        return violations(found)

    async def ping(self) -> Health:
        """See `AllocatorApi.ping`."""
        await self._recovered.wait()
        return health(self._pools.values(), self._fleet, self._disks.full, self._clock.now())

    async def close(self) -> None:
        """End the allocator's tasks; workers and sessions go on."""
        await self._tasks.close()
        await self._ledger.close()

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def _main(self) -> None:
        while not self._recovered.is_set():
            try:
                await self._recover()
                self._recovered.set()
                self._tasks.start(self._upkeep.run())
                metrics.REDIS_UP.labels("allocator").set(1)
            except RedisError:
                metrics.REDIS_UP.labels("allocator").set(0)
                log.warning("redis_unavailable", during="recovery")
                await asyncio.sleep(TICK_S)
        while True:
            self._kick.clear()
            await self._tick()
            if time.monotonic() >= self._look_at:
                await self._look()
                self._look_at = time.monotonic() + TICK_S
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_at - time.monotonic()):  # `wait_for` can lose a cancellation
                    await self._kick.wait()

    async def _tick(self) -> None:
        for pool in self._pools.values():
            try:
                await self._serve(pool)
            except RedisError:
                log.warning("redis_unavailable", during="tick")
            await self._fleet.scale(pool)

    async def _look(self) -> None:
        """What looks at everybody, and so is not done at every change."""
        for model, pool in self._pools.items():
            try:
                await self._close_unasked(pool)
            except RedisError:
                log.warning("redis_unavailable", during="look")
            self._move_overdue(pool)
            pool.check_integrity()
            metrics.observe_pool(model, pool)

    async def _serve(self, pool: Pool) -> None:
        while (grant := pool.next_grant()) is not None:
            ticket, worker = grant
            # before the first await, so that nobody else is given the slot
            pool.hold(worker.name, ticket.session_id, ticket.tenant)
            self._granting.add(ticket.session_id)
            try:
                await self._grant(pool, ticket, worker)
            except (RedisError, Unavailable):
                log.warning("redis_unavailable", during="grant", session_id=ticket.session_id)
                self._put_back(pool, ticket)
                return
            finally:
                self._granting.discard(ticket.session_id)

    async def _grant(self, pool: Pool, ticket: Ticket, worker: Slots) -> None:
        try:
            record = await self._store.get(ticket.tenant, ticket.session_id) or await self._upkeep.enter_again(ticket)
        except RecordUnreadable:
            log.error("record_unreadable", session_id=ticket.session_id)
            self._forget(pool, ticket.session_id)
            return
        move = self._waits.why(ticket.session_id)
        if move is not None and record is not None and record.worker:  # none has handed it over
            move = Move.LOST
            await self._count_move(record)
        now = time.time()
        epoch = await self._store.grant(ticket.tenant, ticket.session_id, worker.name, now)
        if record is None or epoch == 0:
            self._forget(pool, ticket.session_id)
            return
        started_at = record.started_at or now
        held = record.model_copy(update={"epoch": epoch, "worker": worker.name, "started_at": started_at})
        grant = Grant(record=held, deadline=started_at + record.max_duration_s, move=move)
        try:
            seq = await self._reserve(worker.name, grant)
        except WorkerGone:
            if move is None:
                self._waits.begun(ticket)
            self._fleet.forget(pool, worker.name)
            self._move(pool, ticket.tenant, ticket.session_id, Move.LOST)
        except Conflict as refusal:  # the worker knows better what it holds
            log.warning("reserve_refused", worker_id=worker.name, session_id=ticket.session_id, reason=str(refusal))
            was = {"worker": "", "started_at": record.started_at}
            await self._store.update(ticket.tenant, ticket.session_id, epoch, **was)
            self._put_back(pool, ticket)
            await self._ask(pool, worker.name)
        else:
            self._granted(pool, ticket, grant, seq)

    async def _reserve(self, name: str, grant: Grant) -> int:
        """The `seq` of the worker's word from which on it knows of the session. Raises WorkerGone, Conflict."""
        if (handle := self._fleet.handles.get(name)) is None:
            raise WorkerGone(name)
        return await handle.reserve(grant)

    def _granted(self, pool: Pool, ticket: Ticket, grant: Grant, seq: int) -> None:
        record, session_id = grant.record, ticket.session_id
        self._granting.discard(session_id)
        self._grants[session_id] = seq
        pool.runs(session_id, self._clock.of(record.started_at), self._clock.of(grant.deadline))
        log.info("granted", worker_id=record.worker, session_id=session_id, epoch=record.epoch)
        self._waits.granted(ticket, record.worker, grant.move)
        if (status := self._fleet.statuses.get(record.worker)) is not None:
            self._heard(pool, status)  # it may be over already

    async def _ask(self, pool: Pool, name: str) -> None:
        """Have a worker's word now."""
        if (handle := self._fleet.handles.get(name)) is not None:
            with suppress(WorkerGone, NoWord):
                self._heard(pool, await word_of(name, pool.settings.model, handle.watch(-1, 0)))

    async def _drop_former_hold(self, pool: Pool, ticket: Ticket) -> None:
        """A session that was reopened at once: its former worker's word that it has ended is still on its way."""
        if pool.holder(ticket.session_id) is None or ticket.session_id in self._granting:
            return
        try:
            record = await self._store.get(ticket.tenant, ticket.session_id)
        except RedisError as error:
            raise Unavailable("the session registry does not answer") from error
        if record is not None and not record.worker and ticket.session_id not in self._granting:
            self._forget(pool, ticket.session_id)

    def _put_back(self, pool: Pool, ticket: Ticket) -> None:
        """A grant has failed: the session waits again, whether or not the queue is full."""
        pool.release(ticket.session_id)
        pool.enqueue(ticket.model_copy(update={"priority": 0}), self._clock.now())

    def _waiting(self) -> list[Ticket]:
        return [ticket for pool in self._pools.values() for ticket in pool.waiting.values()]

    def _still_asked(self, ticket: Ticket) -> bool:
        return not self._waits.vanished(ticket.session_id, self._settings.limits.queue_poll_grace_s)

    def _lose_waiter(self, ticket: Ticket) -> None:
        """A waiter's record is gone for good."""
        pool = self._pools[ticket.model]
        if ticket.session_id in pool.waiting:
            log.warning("waiter_lost", session_id=ticket.session_id)
            self._forget(pool, ticket.session_id)

    async def _close_unasked(self, pool: Pool) -> None:
        for ticket in list(pool.waiting.values()):
            if ticket.priority > 0 and not self._still_asked(ticket):
                log.info("waiter_vanished", session_id=ticket.session_id)
                await self._end(ticket.tenant, ticket.session_id, "client vanished while waiting")
                self._forget(pool, ticket.session_id)

    async def _inspect(self) -> None:
        """Look, whenever nothing is being granted or moved, whether all that must hold does."""
        inspector = Inspector()
        while True:
            await asyncio.sleep(self._settings.limits.integrity_s)
            if self._granting or self._departures.under_way:
                continue
            with suppress(Unavailable):
                lasting = inspector.lasting(await self.check_integrity())
                metrics.observe_integrity(each.kind for each in lasting)
                for each in sorted(lasting):
                    log.error("integrity_violated", kind=each.kind.value, subject=each.subject, detail=each.detail)

    # --- workers ----------------------------------------------------------------------------------------------------

    def _heard(self, pool: Pool, status: WorkerStatus) -> None:
        """A worker's word on what it holds."""
        worker = pool.workers.get(status.name)
        if worker is None:
            return
        if status.state in (WorkerState.DRAINING, WorkerState.EXITING):
            pool.drain(worker.name)
            if status.leave_by is None or self._departures.leave_at(status.name) is None:
                at = None if status.leave_by is None else self._clock.of(status.leave_by)
                self._departures.set(status.name, at)  # it was asked for here, or by an allocator before this one
        elif status.generation < self._settings.generation and not worker.draining:
            self._fleet.drain(pool, status.name, None)
        held = {session.session_id for session in status.sessions}
        known = set(worker.sessions)
        pool.told(worker.name, len(held - known))
        pool.fits(worker.name, status.capacity)
        if any(session.stranded for session in status.sessions):
            self._look_at = 0.0
        for session_id in held & known:  # after a restart this is all there is to know of the grant
            self._grants.setdefault(session_id, status.seq)
        under_way = self._departures.under_way | self._granting  # what becomes of these, the calls will tell
        for session_id in known - held - under_way:
            first = self._grants.get(session_id)
            if first is not None and status.seq >= first:  # not a word from before the grant
                tenant = worker.sessions[session_id]
                self._forget(pool, session_id)
                self._tasks.start(self._dropped(pool, status.name, tenant, session_id))
        self._kick.set()

    async def _dropped(self, pool: Pool, name: str, tenant: str, session_id: str) -> None:
        """A worker no longer holds a session. If the registry says that it does, it was not ended there: it is lost."""
        try:
            record = await self._store.get(tenant, session_id)
        except (RedisError, RecordUnreadable):
            return  # `check_integrity` will find it
        if record is None or record.state in TERMINAL or record.worker != name or session_id in self._granting:
            return
        if pool.holder(session_id) is None and session_id not in pool.waiting:
            log.error("session_dropped", worker_id=name, session_id=session_id)
            self._move(pool, tenant, session_id, Move.LOST)

    def _lost(self, pool: Pool, name: str) -> None:
        """A worker has ended: its sessions queue again, before new ones."""
        tenants = dict(pool.workers[name].sessions) if name in pool.workers else {}
        for session_id in pool.gone(name):
            if session_id not in self._granting | self._departures.under_way:  # else that fails, and it queues then
                self._move(pool, tenants[session_id], session_id, Move.LOST)
        self._departures.set(name, None)
        log.warning("worker_gone", worker_id=name, sessions=len(tenants))
        self._kick.set()

    def _move_overdue(self, pool: Pool) -> None:
        for each in self._departures.due(pool, self._fleet.statuses.values()):
            if each.session_id not in self._granting:
                self._departures.begin(each.session_id)
                self._tasks.start(self._hand_over(pool, each))

    async def _hand_over(self, pool: Pool, departure: Departure) -> None:
        name, tenant, session_id = departure
        over = False
        try:
            await self._fleet.handles[name].hand_over(session_id)
        except NotReady:
            return  # it is only just being opened there, and is asked again
        except NotFound:
            over = True
        except (KeyError, WorkerGone):
            pass  # it left with its last session before it could answer, or it was lost: the record knows
        finally:
            self._departures.end(session_id)
        if over and ((holder := pool.holder(session_id)) is None or holder.name != name):
            return  # that was an old word of the worker's: the session has moved already
        self._forget(pool, session_id)
        if not over:
            self._move(pool, tenant, session_id, Move.PLANNED)

    def _move(self, pool: Pool, tenant: str, session_id: str, why: Move) -> None:
        self._grants.pop(session_id, None)
        self._waits.moves(session_id, why)
        model = pool.settings.model
        metrics.MOVED.labels(model, why.value).inc()
        log.warning("session_moves", session_id=session_id, cause=why.value)
        now = self._clock.now()
        pool.enqueue(Ticket(session_id=session_id, tenant=tenant, model=model, arrival=now, priority=0), now)

    async def _count_move(self, record: SessionRecord) -> None:
        """Note in the record that the session has lost a worker; end it if that was one too many."""
        if record.moves >= MAX_MOVES:
            await self._end(record.tenant, record.session_id, "too many workers lost")
            metrics.SESSIONS_LOST.labels(record.model, "too many workers lost").inc()
        else:
            await self._store.update(record.tenant, record.session_id, record.epoch, moves=record.moves + 1, worker="")

    # --- recovery ---------------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Rebuild the pools: workers from their names and words, the queue from Redis."""
        for pool in self._pools.values():
            await self._fleet.recover(pool)
        records = {record.session_id: record async for record in self._store.all_open() if record.model in self._pools}
        self._settle(records)
        for ticket in tickets(records.values(), self._clock):
            record, pool = records[ticket.session_id], self._pools[ticket.model]
            if pool.holder(ticket.session_id) is not None:
                if record.started_at:
                    started_at = self._clock.of(record.started_at)
                    pool.runs(ticket.session_id, started_at, started_at + record.max_duration_s)
                continue
            if ticket.priority == 0:
                self._waits.moved(ticket.session_id, Move.LOST if record.worker else Move.PLANNED)
            try:
                pool.enqueue(ticket, self._clock.now())
            except QueueFull:  # so it is the last to come who are refused
                await self._end(record.tenant, record.session_id, "queue full")
                metrics.SESSIONS_LOST.labels(record.model, "queue full").inc()
        log.info("allocator_recovered", workers=len(self._fleet.handles))

    def _settle(self, records: Mapping[str, SessionRecord]) -> None:
        words = [status for status in self._fleet.statuses.values() if status.model in self._pools]
        settle(self._pools, words, records)
        for status in words:
            for held in status.sessions:
                self._grants.pop(held.session_id, None)  # it may be that of the other one
        for status in words:
            self._heard(self._pools[status.model], status)

    # --- small things -----------------------------------------------------------------------------------------------

    def _forget(self, pool: Pool, session_id: str) -> None:
        if (ticket := pool.waiting.get(session_id)) is not None:
            self._waits.over(ticket)
        self._waits.forget(session_id)
        self._grants.pop(session_id, None)
        pool.cancel(session_id)
        pool.release(session_id, self._clock.now())
        self._kick.set()

    async def _end(self, tenant: str, session_id: str, reason: str) -> None:
        await self._store.end(tenant, session_id, SessionState.CLOSED, reason)

    def _pool(self, model: str) -> Pool:
        try:
            return self._pools[model]
        except KeyError:
            raise UnknownModel(f"no model named {model}") from None
