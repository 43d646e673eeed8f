"""Have workers leave without cutting a session, and wait until they have left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

import ray

from cluster.client import ClusterClient

LOOK_EVERY_S = 1.0


class TooLate(RuntimeError):
    """Some workers had not left when the waiting ended."""


def this_node() -> str:
    """Ray's id of the node that this process is attached to."""
    return str(ray.get_runtime_context().get_node_id())


async def drain(
    cluster: ClusterClient, target: str | None, deadline_s: float | None, wait_s: float, say: Callable[[str], None]
) -> None:
    """Drain a worker, a node, or with None this node.

    Raises:
        UnknownWorker: there is none of this name.
        TooLate: `wait_s` was not enough.
    """
    names = await cluster.drain(target or this_node(), deadline_s)
    say(f"draining {', '.join(names)}")
    end = time.monotonic() + wait_s
    while left := await _left(cluster, names):
        if time.monotonic() > end:
            raise TooLate(f"still there after {wait_s:g} s: {', '.join(left)}")
        await asyncio.sleep(LOOK_EVERY_S)
    say("all have left")


async def _left(cluster: ClusterClient, names: Collection[str]) -> list[str]:
    return [worker.name for worker in await cluster.workers() if worker.name in names]
