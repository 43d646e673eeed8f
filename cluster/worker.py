"""A worker: one loaded replica and the sessions in its slots. A plain class; `cluster.remote` makes it a Ray actor.

It is the source of truth on what it holds. Every change raises `seq`, for which the allocator waits in `watch`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog
from redis.exceptions import RedisError

from cluster import endings, gpu, metrics
from cluster.api import HeldSession, WorkerState, WorkerStatus
from cluster.arbiter import Arbiter
from cluster.attachments import Attachments
from cluster.clips import Segment
from cluster.disks import Disks, folders
from cluster.errors import CommandRefused, Conflict, NoRoom, NotFound, NotReady, Unavailable
from cluster.ledger import Ledger
from cluster.load import Load
from cluster.media.peer import open_peers
from cluster.moderation.gate import Gate
from cluster.moderation.verdict import ModerationUnavailable
from cluster.recordings import Recordings
from cluster.records import Grant
from cluster.session import Session
from cluster.settings import PoolSettings, Settings
from cluster.storage import open_storage
from cluster.store import Store
from cluster.tasks import Tasks, running
from cluster.usage import UsageStore
from models import registry
from models.contract import DeviceLost, ModelSpec, Replica
from models.snapshots import OtherVersion
from wire.http import IceCandidates, Role, SdpOffer, SessionState

log = structlog.get_logger(__name__)

MAX_FETCHING = 4
"""Commands whose files a worker fetches at a time, which bounds the memory that they take."""


class Worker:
    """Implements `cluster.api.WorkerApi`. Make it inside a running loop; loading starts at once.

    `exit_process` is called when a drained worker has nothing left to do.
    """

    def __init__(
        self,
        name: str,
        pool: PoolSettings,
        settings: Settings,
        store: Store,
        exit_process: Callable[[], None],
        node: str = "",
    ) -> None:
        self.name = name
        self._node = node
        self._pool = pool
        self._settings = settings
        self._store = store
        self._exit_process = exit_process
        self._model = registry.find(pool.model, pool.preset, **pool.options)
        self._replica: Replica | None = None
        self._sessions: dict[str, Session] = {}
        self._opening: set[str] = set()
        self._draining = False
        self._leave_by: float | None = None
        self._failure = ""
        self._seq = 0
        self._changed = asyncio.Event()
        self._arbiter = Arbiter()
        self._device = _device(self._model.spec, pool, self._room_changed)
        self._storage = open_storage(settings)
        self._disks = Disks(folders(settings, recordings=True), changed=self._bump)
        self._fetching = asyncio.Semaphore(MAX_FETCHING)
        self._recordings = Recordings(name, store.redis, self._storage, settings, idle=self._leave_if_done)
        self._ledger = Ledger(UsageStore(store.redis, settings), idle=self._leave_if_done)
        self._gate = Gate.of(settings.moderation)
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="engine")  # a chunk, and its commit
        self._tasks = Tasks("worker")
        metrics.begin_worker(pool.model, endings.OUR_FAULT)
        if pool.num_gpus:
            gpu.export()
        self._metrics_port = metrics.serve(settings.metrics_port)
        self._tasks.start(self._ledger.run())
        self._tasks.start(self._disks.run())
        self._tasks.start(self._load())

    # --- for the allocator ------------------------------------------------------------------------------------------

    async def ping(self) -> int:
        """See `WorkerApi.ping`."""
        return self._seq

    async def watch(self, seq: int, timeout_s: float) -> WorkerStatus:
        """See `WorkerApi.watch`."""
        if self._seq == seq:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
        return self.status()

    async def reserve(self, grant: Grant) -> int:
        """See `WorkerApi.reserve`."""
        if (former := self._sessions.get(grant.session_id)) is not None:
            await asyncio.shield(former.end(endings.FENCED))  # its epoch is over
        if self._draining or self._replica is None:
            raise Conflict(f"worker {self.name} takes nothing now")
        if len(self._sessions) >= self._capacity():
            raise NoRoom(f"worker {self.name} has no room for another session")
        session = Session(
            grant,
            self._pool,
            self._model,
            self._replica.open,
            store=self._store,
            settings=self._settings,
            attachments=Attachments(grant, self._store.redis, self._storage, self._settings, self._fetching),
            recorder=self._recordings.open(grant, self._model.spec.main_video),
            gate=self._gate,
            arbiter=self._arbiter,
            load=self._device,
            ledger=self._ledger,
            executor=self._executor,
            ended=self._ended,
            broken=self._give_up,
        )
        self._sessions[grant.session_id] = session
        self._opening.add(grant.session_id)
        metrics.SESSIONS.labels(self._pool.model).inc()
        self._bump()
        try:
            await session.open()
        except (RedisError, Unavailable) as error:
            await session.end(endings.FENCED)
            raise Unavailable("the session registry does not answer") from error
        except DeviceLost as error:
            self._give_up(error)
            raise Unavailable("the worker's device has failed") from error
        except ModerationUnavailable:
            await session.end(endings.UNMODERATED, SessionState.INACTIVE)  # nobody is at fault: it can be started again
        except CommandRefused:
            await session.end(endings.MODERATED)
        except OtherVersion as error:
            log.warning("snapshot_of_another_version", session_id=grant.session_id, reason=str(error))
            await session.end(endings.OTHER_VERSION, SessionState.INACTIVE)  # such a worker can take it up
        except ValueError:
            log.exception("snapshot_unusable", session_id=grant.session_id)
            await session.end(endings.UNUSABLE)
        except Exception:  # it would follow the session to each worker, and end the allocator
            metrics.FAILURES.labels("session").inc()
            log.exception("session_not_opened", session_id=grant.session_id)
            await session.end(endings.UNOPENED)
        finally:
            self._opening.discard(grant.session_id)
        return self._seq

    async def drain(self, leave_by: float | None) -> None:
        """See `WorkerApi.drain`."""
        self._draining, self._leave_by = True, leave_by
        self._bump()
        self._leave_if_done()

    async def hand_over(self, session_id: str) -> None:
        """See `WorkerApi.hand_over`."""
        await self._session(session_id).hand_over()

    def status(self) -> WorkerStatus:
        """This worker's word on itself."""
        held = tuple(
            HeldSession(session_id=s.grant.session_id, tenant=s.grant.tenant, epoch=s.grant.epoch, stranded=s.stranded)
            for s in self._sessions.values()
        )
        return WorkerStatus(
            name=self.name,
            model=self._pool.model,
            state=self._state(),
            capacity=self._capacity(),
            sessions=held,
            seq=self._seq,
            pid=os.getpid(),
            metrics_port=self._metrics_port,
            failure=self._failure,
            generation=self._settings.generation,
            node=self._node,
            peers=open_peers(),
            session_tasks=running("session"),
            leave_by=self._leave_by,
            full_disks=self._disks.full,
        )

    # --- for the gateway --------------------------------------------------------------------------------------------

    async def create_connection(self, session_id: str, role: Role) -> int:
        """See `WorkerApi.create_connection`."""
        return self._session(session_id).connections.create(role)

    async def offer(self, session_id: str, connection_id: int, offer: SdpOffer, role: Role) -> None:
        """See `WorkerApi.offer`."""
        self._session(session_id).connections.offer(connection_id, offer, role)

    async def answer(self, session_id: str, connection_id: int, wait_s: float, role: Role) -> str | None:
        """See `WorkerApi.answer`."""
        return await self._session(session_id).connections.answer(connection_id, wait_s, role)

    async def add_candidates(self, session_id: str, connection_id: int, batch: IceCandidates, role: Role) -> None:
        """See `WorkerApi.add_candidates`."""
        await self._session(session_id).connections.add_candidates(connection_id, batch, role)

    async def clip(self, session_id: str, epoch: int, start_s: float, end_s: float) -> tuple[Segment, ...] | None:
        """See `WorkerApi.clip`."""
        return self._recordings.segments(session_id, epoch, start_s, end_s)

    async def recorded(self, session_id: str, epoch: int, name: str) -> bytes:
        """See `WorkerApi.recorded`."""
        return await self._recordings.read(session_id, epoch, name)

    async def events(self, session_id: str) -> bytes:
        """See `WorkerApi.events`."""
        return self._session(session_id).events()

    async def close(self, session_id: str, reason: str) -> None:
        """See `WorkerApi.close`."""
        if (session := self._sessions.get(session_id)) is not None:
            await asyncio.shield(session.end(reason))

    # --- life -------------------------------------------------------------------------------------------------------

    async def shutdown(self) -> None:
        """End every session and free the replica, without ending the process."""
        await asyncio.gather(*(session.end(endings.SHUT_DOWN) for session in list(self._sessions.values())))
        await self._recordings.close()
        await self._tasks.close()
        await self._ledger.close()
        if self._gate is not None:
            await self._gate.close()
        self._executor.shutdown()

    async def _load(self) -> None:
        device = self._pool.device
        loop = asyncio.get_running_loop()
        (outcome,) = await asyncio.gather(
            loop.run_in_executor(self._executor, self._start, device), return_exceptions=True
        )
        if isinstance(outcome, BaseException):
            self._failure = f"{type(outcome).__name__}: {outcome}"
            log.error("load_failed", worker_id=self.name, exc_info=outcome)
        else:
            self._replica, cost_s = outcome
            if cost_s is not None:
                self._device.note(cost_s)
            told = {"device": device, "metrics_port": self._metrics_port, **self._replica.facts}
            log.info("worker_ready", worker_id=self.name, chunk_s=cost_s, **told)
        self._bump()

    def _start(self, device: str) -> tuple[Replica, float | None]:
        """Load, and where sessions are to share the device try what a chunk costs it; in a thread."""
        replica = self._model.load(device)
        return replica, replica.trial() if self._pool.sessions_per_worker > 1 else None

    def _capacity(self) -> int:
        """How many sessions it may hold: those that its device keeps in time, and those that rest beside them."""
        resting = sum(session.offloaded for session in self._sessions.values())
        return min(self._pool.sessions_per_worker, self._device.fitting + resting)

    def _room_changed(self) -> None:
        for session in self._sessions.values():
            session.look_for_room()
        self._bump()

    def _ended(self, session: Session, reason: str) -> None:
        del self._sessions[session.grant.session_id]
        self._recordings.finish(session.grant)
        metrics.SESSIONS.labels(self._pool.model).dec()
        self._bump()
        self._leave_if_done()

    def _give_up(self, failure: DeviceLost) -> None:
        """The device has failed: the process ends, and its sessions go on elsewhere from their last snapshots."""
        metrics.FAILURES.labels("device").inc()
        log.error("device_lost", worker_id=self.name, failure=str(failure), sessions=list(self._sessions))
        self._exit_process()

    def _leave_if_done(self) -> None:
        if self._draining and not self._sessions and not self._recordings.busy and not self._ledger.busy:
            log.info("worker_exits", worker_id=self.name)
            self._exit_process()

    def _session(self, session_id: str) -> Session:
        if session_id in self._opening:  # what is said to it now would be lost when it takes up its snapshot
            raise NotReady(f"session {session_id} is not open yet")
        try:
            return self._sessions[session_id]
        except KeyError:
            raise (NotReady if self._replica is None else NotFound)(f"session {session_id} is not here") from None

    def _state(self) -> WorkerState:
        if self._draining:
            return WorkerState.DRAINING if self._sessions else WorkerState.EXITING
        if self._replica is None:
            return WorkerState.LOADING
        if any(bool(session.connections) for session in self._sessions.values()):
            return WorkerState.ACTIVE
        return WorkerState.RESERVED if self._sessions else WorkerState.IDLE

    def _bump(self) -> None:
        self._seq += 1
        self._changed.set()
        self._changed = asyncio.Event()


def _device(spec: ModelSpec, pool: PoolSettings, changed: Callable[[], None]) -> Load:
    assert spec.main_video.video is not None, "what goes out has a format"
    period_s = min(spec.geometry.first, spec.geometry.later) / spec.main_video.video.fps
    return Load(pool.model, period_s, bound=pool.max_load, most=pool.sessions_per_worker, changed=changed)
