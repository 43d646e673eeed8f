"""Background tasks that are never lost: kept alive, ended together, and loud when they fail."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from cluster import metrics

log = structlog.get_logger(__name__)

_running: Counter[str] = Counter()

CANCEL_AGAIN_S = 0.1


def running(owner: str) -> int:
    """Tasks of all owners of this name that run in this process."""
    return _running[owner]


class Tasks:
    """The tasks of one owner. An exception that nobody awaits is logged and counted here, and nowhere else;
    `failed` is called after that."""

    def __init__(self, owner: str, failed: Callable[[], None] | None = None) -> None:
        self._owner = owner
        self._failed = failed
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in the background."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        _running[self._owner] += 1
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Cancel all but the caller's own task, and wait until they have ended.

        Again and again: redis-py sends through `asyncio.wait_for`, which on Python 3.11 can lose a cancellation.
        """
        others = {task for task in self._tasks if task is not asyncio.current_task()}
        while others:
            for task in others:
                task.cancel()
            _, others = await asyncio.wait(others, timeout=CANCEL_AGAIN_S)

    async def join(self) -> None:
        """Wait until all that runs now has ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        _running[self._owner] -= 1
        if not task.cancelled() and (failure := task.exception()) is not None:
            metrics.FAILURES.labels(self._owner).inc()
            log.error("task_failed", owner=self._owner, task=str(task.get_coro()), exc_info=failure)
            if self._failed is not None:
                self._failed()
