"""The places of waiters, asked for by many and put to the allocator together.

One question per model is on its way at a time, and one begins at most every `EVERY_S`; whoever asks meanwhile joins the
next one. So a lone asker waits for nobody, and of thousands each waits for two answers at most.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice

from cluster.api import AllocatorApi
from cluster.records import Place

MOST = 1000
"""Ids of one call, which stay well below what Ray sends without its object store."""

EVERY_S = 0.025
"""Fast enough for a person who waits; each question costs the gateway and the allocator a millisecond."""


class _Question:
    """By session id, in order and once."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.answer: asyncio.Task[dict[str, Place]]


class Places:
    """Of the waiters of one cluster."""

    def __init__(self, allocator: AllocatorApi) -> None:
        self._allocator = allocator
        self._next: dict[str, _Question] = {}
        self._turn: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._begun: dict[str, float] = {}
        self._tasks: set[asyncio.Task[dict[str, Place]]] = set()

    async def of(self, model: str, session_ids: Iterable[str]) -> Mapping[str, Place]:
        """By session id, the places of those that wait, and of others perhaps. Raises UnknownModel, Unavailable."""
        question = self._next.get(model)
        if question is None:
            question = self._next[model] = _Question()
            question.answer = asyncio.create_task(self._put(model, question))
            self._tasks.add(question.answer)
            question.answer.add_done_callback(self._done)
        question.ids |= dict.fromkeys(session_ids)
        return await asyncio.shield(question.answer)

    async def close(self) -> None:
        """Ask nothing more."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def _put(self, model: str, question: _Question) -> dict[str, Place]:
        async with self._turn[model]:
            now = time.monotonic()
            await asyncio.sleep(max(0.0, self._begun.get(model, now - EVERY_S) + EVERY_S - now))
            self._begun[model] = time.monotonic()
            del self._next[model]
            ids, found = iter(question.ids), dict[str, Place]()
            while some := list(islice(ids, MOST)):
                found |= await self._allocator.places(model, some)
            return found

    def _done(self, task: asyncio.Task[dict[str, Place]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked has it, unless all of them have gone
