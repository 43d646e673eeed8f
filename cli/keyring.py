"""The key ring of a running cluster, from another process of the same machine or cluster."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from cluster.keys import KeyRing
from cluster.settings import Settings

T = TypeVar("T")


class KeysUnreachable(RuntimeError):
    """There is no Redis to keep keys in."""


async def with_key_ring(settings: Settings, work: Callable[[KeyRing], Awaitable[T]]) -> T:
    """What `work` returns on the cluster's key ring.

    Raises:
        KeysUnreachable: no Redis is set and no cluster runs here, or Redis does not answer.
    """
    url = settings.redis_url or os.environ.get("REDIS_URL") or await _embedded(settings)
    redis = Redis.from_url(url)
    try:
        return await work(KeyRing(redis, settings))
    except RedisError as error:
        raise KeysUnreachable(f"Redis does not answer: {error}") from error
    finally:
        await redis.aclose()


async def _embedded(settings: Settings) -> str:
    import ray

    from cluster import remote

    try:
        ray.init(address="auto", namespace=remote.NAMESPACE, log_to_driver=False, configure_logging=False)
    except ConnectionError:
        raise KeysUnreachable("no cluster runs here: start `longlive-cluster serve`, or set LLC_REDIS_URL") from None
    try:
        return await remote.redis_url(settings)
    finally:
        ray.shutdown()
