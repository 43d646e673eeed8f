"""From another process of the same machine: the cluster that runs there, or its Redis.

Ray is imported where it is needed: that takes longer than all that a Redis of its own is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from cluster.keys import KeyRing
from cluster.settings import Settings

if TYPE_CHECKING:
    from cluster.client import ClusterClient

T = TypeVar("T")


class NotRunning(RuntimeError):
    """There is nothing to attach to."""


async def with_cluster(settings: Settings, work: Callable[[ClusterClient], Awaitable[T]]) -> T:
    """What `work` returns on the running cluster's client. Raises NotRunning."""
    from cluster.client import ClusterClient

    async with _attached(settings):
        client = await ClusterClient.connect(settings)
        try:
            return await work(client)
        finally:
            await client.close()


async def with_key_ring(settings: Settings, work: Callable[[KeyRing], Awaitable[T]]) -> T:
    """What `work` returns on the cluster's key ring. Raises NotRunning."""
    return await with_redis(settings, lambda redis: work(KeyRing(redis, settings)))


async def with_redis(settings: Settings, work: Callable[[Redis], Awaitable[T]]) -> T:
    """What `work` returns on the cluster's Redis; one that is set is enough. Raises NotRunning."""
    if url := settings.given_redis:
        return await _on_redis(url, work)
    from cluster import remote

    async with _attached(settings):
        return await _on_redis(await remote.redis_url(settings), work)


async def _on_redis(url: str, work: Callable[[Redis], Awaitable[T]]) -> T:
    redis = Redis.from_url(url)
    try:
        return await work(redis)
    except RedisError as error:
        raise NotRunning(f"Redis does not answer: {error}") from error
    finally:
        await redis.aclose()


@asynccontextmanager
async def _attached(settings: Settings) -> AsyncIterator[None]:
    import ray

    from cluster import remote

    try:
        ray.init(address="auto", namespace=remote.NAMESPACE, log_to_driver=False, configure_logging=False)
        ray.get_actor(remote.allocator_name(settings), remote.NAMESPACE)
    except (ConnectionError, ValueError):
        ray.shutdown()
        raise NotRunning("no cluster runs here: start `longlive-cluster serve`, or set LLC_REDIS_URL") from None
    try:
        yield
    finally:
        ray.shutdown()
