"""What stands in the way of sessions although requests are answered: what readiness says beside who answers.

Words of kinds, models and disks alone: whoever reaches the gateway may read it, so why a load failed stays in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cluster.api import Health
from cluster.fleet import Fleet
from cluster.policy import Pool
from wire.http import Disk, DiskFull, LoadFailed, Trouble, WorkersMissing

PATIENCE_S = 300.0
"""In which a worker is expected to have its place and its model; from then on it is missing."""


def health(pools: Iterable[Pool], fleet: Fleet, full: Iterable[Disk], now: float) -> Health:
    """Of these pools, of their workers' disks and of the allocator's own `full` ones; `now` is what pools are told."""
    pools = list(pools)
    disks = {*full, *(disk for each in fleet.full_disks.values() for disk in each)}
    troubles = (*_of_workers(pools, fleet, now), *(DiskFull(disk=disk) for disk in sorted(disks)))
    return Health(troubles=troubles, models=not pools or any(_is_of_use(pool, fleet) for pool in pools))


def _of_workers(pools: Iterable[Pool], fleet: Fleet, now: float) -> Iterator[Trouble]:
    for pool in pools:
        workers = [worker for worker in pool.workers.values() if not worker.draining]
        if any(worker.ready for worker in workers):
            continue
        if fleet.fails_to_load(pool):
            yield LoadFailed(model=pool.settings.model)
        elif any(now - worker.asked_at >= PATIENCE_S for worker in workers):
            yield WorkersMissing(model=pool.settings.model)


def _is_of_use(pool: Pool, fleet: Fleet) -> bool:
    """Whether sessions of it may start, or run still: on workers that leave, with clients that come back."""
    return not fleet.fails_to_load(pool) or any(worker.ready for worker in pool.workers.values())
