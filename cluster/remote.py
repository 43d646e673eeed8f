"""Ray behind the protocols of `cluster.api`: the only file that knows actors.

Workers are detached named actors with `max_restarts=0`: their death is then seen in tens of milliseconds instead of
seconds. The allocator restarts for ever. Without `LLC_REDIS_URL` a detached actor holds the embedded Redis.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayError, RayTaskError
from ray.util import list_named_actors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.driver_info import DriverInfo
from redis.maint_notifications import MaintNotificationsConfig
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from cluster import logs, metrics, pauses, tracing
from cluster.allocator import Allocator
from cluster.api import AllocatorApi, WorkerApi, WorkerGone
from cluster.errors import Unavailable
from cluster.fleet import worker_prefix
from cluster.redis_server import EmbeddedRedis
from cluster.settings import PoolSettings, Settings
from cluster.store import Store
from cluster.worker import Worker

NAMESPACE = "longlive"
ALLOCATOR_PATIENCE_S = 10.0
"""Ray restarts a dead allocator in about two seconds; no client asks twice for a session by itself."""
RETRY_EVERY_S = 0.1
GCS_PATIENCE_S = 10.0
REDIS_CONNECTIONS = 256
"""Of one process. Who finds all in use waits for one: redis-py's own pool refuses the 101st request instead."""
OBJECT_STORE_BYTES = 80 * 2**20
"""Nothing of ours goes through Ray's object store; this is about the least it takes."""


def start_ray() -> bool:
    """Start a lean Ray on this machine (True), or join the one that `RAY_ADDRESS` names (False).

    Niceness 0 is needed for real time: with Ray's default of 15 a 20 ms timer is 80 ms late at its 90th percentile on
    a busy machine.
    """
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(namespace=NAMESPACE, log_to_driver=False)
        return False
    ray.init(
        address="local",  # not the one that somebody else has started on this machine
        namespace=NAMESPACE,
        include_dashboard=False,
        num_cpus=os.cpu_count(),
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        configure_logging=False,
    )
    return True


class Proxy:
    """Calls an actor's methods as if it were here: errors come back as themselves, a dead actor as `gone`.

    With `patience_s`, an actor that Ray restarts is asked again for so long, and one that was replaced is looked up
    by `name`; its methods must be idempotent.
    """

    def __init__(self, actor: Any, gone: type[Exception], patience_s: float = 0.0, name: str = "") -> None:
        self._actor = actor
        self._gone = gone
        self._name = name
        self._retrying = AsyncRetrying(
            retry=retry_if_exception_type(gone),
            stop=stop_after_delay(patience_s),
            wait=wait_fixed(RETRY_EVERY_S),
            reraise=True,
        )

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._retrying.copy(), self._call, method)  # the object keeps state while it retries

    async def _call(self, method: str, *args: Any) -> Any:
        try:
            return await getattr(self._actor, method).remote(*args)
        except RayTaskError as error:
            raise error.cause from None
        except (ActorDiedError, ActorUnavailableError, RayActorError) as error:
            if self._name:
                with suppress(ValueError):  # nobody has replaced it yet
                    self._actor = await asyncio.to_thread(ray.get_actor, self._name, NAMESPACE)
            raise self._gone(f"{method}: the actor has ended") from error


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


class _RedisHolder:
    """Holds the embedded Redis of a cluster that has none of its own."""

    def __init__(self, log_level: str) -> None:
        logs.configure(log_level)
        self._server = EmbeddedRedis()

    def url(self) -> str:
        """Where it listens; a socket of this machine."""
        return self._server.url


class _RayWorker(Worker):
    """A worker in its own process."""

    def __init__(self, name: str, pool: PoolSettings, settings: Settings, redis_url: str) -> None:
        logs.configure(settings.log_level, worker_id=name)
        tracing.start(settings.tracing, name)
        store = Store(open_redis(redis_url), settings)
        super().__init__(name, pool, settings, store, exit_process=lambda: os._exit(0), node=_node())


class _RayAllocator(Allocator):
    """The one allocator of a cluster; after a restart it recovers from the workers and from Redis."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        logs.configure(settings.log_level)
        tracing.start(settings.tracing, allocator_name(settings))
        store = Store(open_redis(redis_url), settings)
        super().__init__(settings, store, RayBackend(settings, redis_url), crash=lambda: os._exit(1))
        metrics.serve(settings.metrics_port)
        pauses.keep_short()

    async def generation(self) -> int:
        """Of the settings that it was started with."""
        return self._settings.generation


_remote = cast(Any, ray.remote)  # its overloads do not know classes that inherit their methods
# A part of a CPU keeps them off nodes that offer none, as those of GPUs should: what runs there leaves with its node.
RedisActor = _remote(num_cpus=0.1, max_restarts=0)(_RedisHolder)
WorkerActor = _remote(num_cpus=0, max_restarts=0, max_concurrency=256)(_RayWorker)
AllocatorActor = _remote(num_cpus=0.1, max_restarts=-1, max_task_retries=0, max_concurrency=2000)(_RayAllocator)


class RayBackend:
    """Implements `cluster.fleet.Backend` with detached actors."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self._settings = settings
        self._redis_url = redis_url

    async def spawn(self, name: str, pool: PoolSettings) -> WorkerApi:
        """An actor that waits for a GPU is the autoscaler's demand signal, so this never fails for lack of one."""
        options = WorkerActor.options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            num_gpus=pool.num_gpus,
            resources=pool.resources,
            get_if_exists=True,
        )
        actor = options.remote(name, pool, self._settings, self._redis_url)
        return cast(WorkerApi, Proxy(actor, WorkerGone))

    async def names(self) -> list[str]:
        """Names of this cluster's workers."""
        return await worker_names(self._settings)

    async def get(self, name: str) -> WorkerApi:
        """See `Backend.get`."""
        return await worker_handle(name)

    async def kill(self, name: str) -> None:
        """See `Backend.kill`."""
        try:
            actor = await asyncio.to_thread(ray.get_actor, name, NAMESPACE)
        except ValueError:
            return
        ray.kill(actor)


async def worker_names(settings: Settings) -> list[str]:
    """Names of the cluster's workers. Raises Unavailable."""
    try:
        async with asyncio.timeout(GCS_PATIENCE_S):
            found = await asyncio.to_thread(list_named_actors, all_namespaces=True)
    except (TimeoutError, RayError) as error:
        raise Unavailable("Ray's GCS does not answer") from error
    prefixes = tuple(worker_prefix(settings.cluster, pool.model) for pool in settings.pools)
    return [each["name"] for each in found if each["namespace"] == NAMESPACE and each["name"].startswith(prefixes)]


async def worker_handle(name: str) -> WorkerApi:
    """A worker's handle by name; raises WorkerGone."""
    try:
        actor = await asyncio.to_thread(ray.get_actor, name, NAMESPACE)
    except ValueError as error:
        raise WorkerGone(name) from error
    return cast(WorkerApi, Proxy(actor, WorkerGone))


class Handles:
    """Handles of workers by name, kept: a look-up costs half a millisecond, a call one."""

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._handles: dict[str, WorkerApi] = {}

    async def __call__(self, name: str) -> WorkerApi:
        """A worker's handle; raises WorkerGone."""
        if name not in self._handles:
            while len(self._handles) >= self._size:
                del self._handles[next(iter(self._handles))]
            self._handles[name] = await worker_handle(name)
        return self._handles[name]


async def redis_url(settings: Settings) -> str:
    """The settings' Redis, `REDIS_URL`, or an embedded one that is started where this is first asked."""
    if url := settings.given_redis:
        return url
    name = f"{settings.cluster}:redis"
    options = RedisActor.options(name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True)
    actor = await asyncio.to_thread(options.remote, settings.log_level)
    url = await actor.url.remote()
    return str(url)


def open_redis(url: str) -> Redis:
    """A client of a process that may have thousands of requests at a time.

    A command that has failed is not sent again: it may have been carried out. But a connection that Redis has closed is
    replaced before it is used, which the pool leaves undone where it listens for notices of a managed Redis.
    """
    notices = MaintNotificationsConfig(enabled=False)
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=REDIS_CONNECTIONS,
        timeout=None,
        maint_notifications_config=notices,
        driver_info=DriverInfo(),  # else each connection reads the version of the package from its files
    )
    return Redis.from_pool(pool)


def allocator_name(settings: Settings) -> str:
    """Name of the allocator's actor."""
    return f"{settings.cluster}:allocator"


async def connect(settings: Settings) -> tuple[Redis, AllocatorApi, Handles]:
    """Redis, the allocator (started if it is not there) and the workers, for a process of the cluster."""
    url = await redis_url(settings)
    name = allocator_name(settings)
    options = AllocatorActor.options(name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True)
    actor = await asyncio.to_thread(options.remote, settings, url)
    allocator = Proxy(actor, Unavailable, ALLOCATOR_PATIENCE_S, name)
    if await allocator.generation() < settings.generation:  # it holds no truth: another one, with these settings
        ray.kill(actor)
        await _replaced(
            Proxy(actor, Unavailable, name=name), partial(options.remote, settings, url), settings.generation
        )
    return open_redis(url), cast(AllocatorApi, allocator), Handles()


async def _replaced(allocator: Proxy, start: Callable[[], Any], generation: int) -> None:
    """Start another allocator as soon as the name of the former is free. Raises Unavailable."""

    async def found() -> None:
        await asyncio.to_thread(start)
        if await allocator.generation() < generation:
            raise Unavailable("the former allocator has not ended")

    await AsyncRetrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_delay(ALLOCATOR_PATIENCE_S),
        wait=wait_fixed(RETRY_EVERY_S),
        reraise=True,
    )(found)
