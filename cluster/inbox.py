"""The commands of one connection, dispatched strictly in the order in which they came.

A command that needs nothing is dispatched where it arrives, in the same turn of the loop. One that needs files waits
for them, and where commands are moderated each waits for its verdict; all that come after it wait behind it. Verdicts
on commands without files are asked for when these arrive: many in a row do not take as many times as long. Files are
fetched for one command at a time, as they are held in memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from cluster.errors import CommandRefused, TooManyCommands
from cluster.tasks import Tasks
from models.files import Upload
from wire.frames import Command

Files = Mapping[str, Upload]
Judge = Callable[[Command, Files], Coroutine[Any, Any, CommandRefused | None]]


class _Waiting(NamedTuple):
    command: Command
    files: Sequence[str]
    since: float
    verdict: asyncio.Task[CommandRefused | None] | None


class Inbox:
    """See the module. Use it inside the running loop.

    `files` tells which uploads a command needs, `fetch` gets them, `judge` tells why it may not pass (None: it may; no
    judge: all may), `dispatch` and `refuse` are what becomes of a command: exactly one of them, unless the inbox is
    closed first. Times are of the loop's clock; `dispatch` is told when the command came.
    """

    def __init__(
        self,
        *,
        files: Callable[[Command], Sequence[str]],
        fetch: Callable[[Sequence[str], float], Awaitable[Files]],
        dispatch: Callable[[Command, Files, float], None],
        refuse: Callable[[Command, CommandRefused], None],
        limit: int,
        tasks: Tasks,
        judge: Judge | None = None,
    ) -> None:
        self._files = files
        self._fetch = fetch
        self._judge = judge
        self._dispatch = dispatch
        self._refuse = refuse
        self._limit = limit
        self._tasks = tasks
        self._waiting: deque[_Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, command: Command) -> None:
        """Take a command; refuses it with `too_many_commands` when `limit` wait already."""
        files = self._files(command)
        if self._running is None and self._judge is None and not files:
            self._dispatch(command, {}, asyncio.get_running_loop().time())
        elif len(self._waiting) >= self._limit:
            self._refuse(command, TooManyCommands(f"{self._limit} commands wait already"))
        else:
            self._wait(command, files)
            if self._running is None:
                self._start()

    def close(self) -> None:
        """Drop what waits: whoever asked for it is gone."""
        self._closed = True
        for waiting in self._waiting:
            if waiting.verdict is not None:
                waiting.verdict.cancel()
        self._waiting.clear()
        if self._running is not None:
            self._running.cancel()

    def _wait(self, command: Command, files: Sequence[str]) -> None:
        verdict = None if self._judge is None or files else self._tasks.start(self._judge(command, {}))
        self._waiting.append(_Waiting(command, files, asyncio.get_running_loop().time(), verdict))

    def _start(self) -> None:
        self._running = self._tasks.start(self._run())
        self._running.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running = None
        if self._waiting and not task.cancelled():  # a failure that nobody foresaw costs its command alone
            self._start()

    async def _run(self) -> None:
        while self._waiting:
            await self._next(self._waiting.popleft())

    async def _next(self, waiting: _Waiting) -> None:
        files: Files = {}
        try:
            files = await self._fetch(waiting.files, waiting.since) if waiting.files else {}
            refused = await self._judged(waiting, files)
        except CommandRefused as error:
            refused = error
        if self._closed:  # redis-py can lose a cancellation
            return
        if refused is None:
            self._dispatch(waiting.command, files, waiting.since)
        else:
            self._refuse(waiting.command, refused)

    async def _judged(self, waiting: _Waiting, files: Files) -> CommandRefused | None:
        if waiting.verdict is not None:
            return await waiting.verdict
        return None if self._judge is None else await self._judge(waiting.command, files)
