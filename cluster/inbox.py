"""The commands of one connection, dispatched strictly in the order in which they came.

A command that needs no files is dispatched where it arrives, in the same turn of the loop. One that needs files waits
for them, and all that come after it wait behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from cluster.attachments import UnresolvedUpload
from cluster.tasks import Tasks
from models.files import Upload
from wire.frames import Command

Files = Mapping[str, Upload]


class _Waiting(NamedTuple):
    command: Command
    files: Sequence[str]
    since: float


class Inbox:
    """See the module. Use it inside the running loop.

    `files` tells which uploads a command needs, `fetch` gets them, `dispatch` and `refuse` (command, code, reason) are
    what becomes of a command: exactly one of them, unless the inbox is closed first.
    """

    def __init__(
        self,
        *,
        files: Callable[[Command], Sequence[str]],
        fetch: Callable[[Sequence[str], float], Awaitable[Files]],
        dispatch: Callable[[Command, Files], None],
        refuse: Callable[[Command, str, str], None],
        limit: int,
        tasks: Tasks,
    ) -> None:
        self._files = files
        self._fetch = fetch
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
        if self._running is None and not files:
            self._dispatch(command, {})
        elif len(self._waiting) >= self._limit:
            self._refuse(command, "too_many_commands", f"{self._limit} commands wait for a file already")
        else:
            self._waiting.append(_Waiting(command, files, asyncio.get_running_loop().time()))
            if self._running is None:
                self._start()

    def close(self) -> None:
        """Drop what waits: whoever asked for it is gone."""
        self._closed = True
        self._waiting.clear()
        if self._running is not None:
            self._running.cancel()

    def _start(self) -> None:
        self._running = self._tasks.start(self._run())
        self._running.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running = None
        if self._waiting and not task.cancelled():  # a failure that nobody foresaw costs its command alone
            self._start()

    async def _run(self) -> None:
        while self._waiting:
            await self._next(*self._waiting.popleft())

    async def _next(self, command: Command, needed: Sequence[str], since: float) -> None:
        try:
            files = await self._fetch(needed, since) if needed else {}
        except UnresolvedUpload as error:
            if not self._closed:  # redis-py can lose a cancellation
                self._refuse(command, "unresolved_upload", str(error))
        else:
            if not self._closed:
                self._dispatch(command, files)
