"""Calls for one thing each, put to another process together while they come faster than they are answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST = 100
"""Things of one call: what a process does for one call keeps its others waiting."""


class Together(Generic[T, R]):
    """`call` answers for things in their order, with an error for one that is refused, or fails for all of them.

    `at_once` calls are on their way at a time, each of them counted for `every_s` at least. Who comes while there are
    fewer waits for nobody; who comes meanwhile goes with the next, and pays for a part of it.
    """

    def __init__(
        self, call: Callable[[list[T]], Awaitable[Sequence[R | Exception]]], at_once: int, every_s: float = 0.0
    ) -> None:
        self._call = call
        self._room = at_once
        self._every_s = every_s
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._calls: dict[asyncio.Future[Sequence[R | Exception]], Sequence[asyncio.Future[R]]] = {}

    async def __call__(self, thing: T) -> R:
        """The answer for this one; raises its error, or that of the call."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((thing, answer))
        asyncio.get_running_loop().call_soon(self._go_on)  # who comes in the same turn goes along
        return await answer

    async def close(self) -> None:
        """Ask nothing more."""
        while self._waiting:
            self._waiting.popleft()[1].cancel()
        while self._calls:
            for call in self._calls:
                call.cancel()
            await asyncio.wait(self._calls)

    def _go_on(self) -> None:
        if not self._room or not (asked := self._next()):
            return
        self._room -= 1
        free_at = asyncio.get_running_loop().time() + self._every_s
        things, answers = [thing for thing, _ in asked], [answer for _, answer in asked]
        self._calls[call := asyncio.ensure_future(self._call(things))] = answers
        call.add_done_callback(partial(self._answered, free_at))

    def _next(self) -> list[tuple[T, asyncio.Future[R]]]:
        asked: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(asked) < MOST:
            each = self._waiting.popleft()
            if not each[1].done():  # its asker is still there
                asked.append(each)
        return asked

    def _answered(self, free_at: float, call: asyncio.Future[Sequence[R | Exception]]) -> None:
        asyncio.get_running_loop().call_at(free_at, self._freed)
        failure = None if call.cancelled() else call.exception()
        for n, answer in enumerate(self._calls.pop(call)):
            if answer.done():
                continue  # its asker has gone
            if call.cancelled():
                answer.cancel()
            elif isinstance(given := failure or call.result()[n], BaseException):
                answer.set_exception(given)
            else:
                answer.set_result(given)

    def _freed(self) -> None:
        self._room += 1
        self._go_on()
