"""What lastingly does not fit in a running cluster."""

from __future__ import annotations

import asyncio
import time

from cluster.client import ClusterClient
from cluster.integrity import Violation

LOOK_EVERY_S = 1.0


async def lasting(cluster: ClusterClient, within_s: float) -> frozenset[Violation]:
    """What each of two or more looks within `within_s` seconds has found; ends as soon as that is nothing.

    Raises:
        Unavailable: the cluster's Redis or its allocator does not answer.
    """
    end = time.monotonic() + within_s
    found = await cluster.check_integrity()
    while found:
        await asyncio.sleep(LOOK_EVERY_S)
        found &= await cluster.check_integrity()
        if time.monotonic() > end:
            break
    return found
