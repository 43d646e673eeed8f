"""The places of waiters, asked for by many and put to the allocator together.

One question per model is on its way at a time, and one begins at most every `EVERY_S`; whoever asks meanwhile joins the
next one. So a lone asker waits for nobody, and of thousands each waits for two answers at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import chain

from cluster.api import AllocatorApi
from cluster.records import Place
from cluster.together import Together

EVERY_S = 0.025
"""Fast enough for a person who waits; each question costs the gateway and the allocator a millisecond."""

Found = Mapping[str, Place]


class Places:
    """Of the waiters of one cluster."""

    def __init__(self, allocator: AllocatorApi) -> None:
        self._allocator = allocator
        self._questions: dict[str, Together[Iterable[str], Found]] = {}

    async def of(self, model: str, session_ids: Iterable[str]) -> Found:
        """By session id, the places of those that wait, and of others perhaps. Raises UnknownModel, Unavailable."""
        if model not in self._questions:
            self._questions[model] = Together(partial(self._ask, model), at_once=1, every_s=EVERY_S)
        return await self._questions[model](session_ids)

    async def close(self) -> None:
        """Ask nothing more."""
        for question in self._questions.values():
            await question.close()

    async def _ask(self, model: str, asked: list[Iterable[str]]) -> list[Found]:
        found = await self._allocator.places(model, list(dict.fromkeys(chain.from_iterable(asked))))
        return [found] * len(asked)
