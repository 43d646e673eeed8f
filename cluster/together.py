"""Calls for one thing each, put to another process together while they come faster than they are answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 4
MOST = 100
"""Things of one call: what a process does for one call keeps its others waiting."""


class Together(Generic[T, R]):
    """`call` answers for things in their order, with an error for one that is refused, or fails for all of them.

    So many calls are on their way at a time. Who comes while there are fewer goes alone and waits for nobody; who comes
    meanwhile goes with the next, and pays for a part of it. One that is slow keeps nobody waiting but those it is for.
    """

    def __init__(self, call: Callable[[list[T]], Awaitable[Sequence[R | Exception]]], at_once: int = AT_ONCE) -> None:
        self._call = call
        self._at_once = at_once
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._calls: dict[asyncio.Future[Sequence[R | Exception]], Sequence[asyncio.Future[R]]] = {}

    async def __call__(self, thing: T) -> R:
        """The answer for this one; raises its error, or that of the call."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((thing, answer))
        if len(self._calls) < self._at_once:
            self._start()
        return await answer

    async def close(self) -> None:
        """Ask nothing more."""
        while self._waiting:
            self._waiting.popleft()[1].cancel()
        while self._calls:
            for call in self._calls:
                call.cancel()
            await asyncio.wait(self._calls)

    def _start(self) -> None:
        asked = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        things, answers = [thing for thing, _ in asked], [answer for _, answer in asked]
        self._calls[call := asyncio.ensure_future(self._call(things))] = answers
        call.add_done_callback(self._answered)

    def _answered(self, call: asyncio.Future[Sequence[R | Exception]]) -> None:
        answers = self._calls.pop(call)
        if self._waiting:
            self._start()
        failure = None if call.cancelled() else call.exception()
        for n, answer in enumerate(answers):
            if answer.done():
                continue  # its asker has gone
            if call.cancelled():
                answer.cancel()
            elif isinstance(given := failure or call.result()[n], BaseException):
                answer.set_exception(given)
            else:
                answer.set_result(given)
