"""A session's place at the device: its stream, or while it rests the stream's state in the host's memory.

All that is done with the stream is done in a thread, in a turn at the device.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import TypeVar

from cluster import metrics
from cluster.arbiter import Arbiter
from cluster.load import Load
from models.contract import Stream

T = TypeVar("T")

_DONE = object()


class Seat:
    """See the module. Made on the device. Use it inside the running loop."""

    def __init__(
        self, model: str, open_stream: Callable[[], Stream], *, load: Load, arbiter: Arbiter, executor: Executor
    ) -> None:
        self._model = model
        self._open = open_stream
        self._load = load
        self._arbiter = arbiter
        self._executor = executor
        self._state = b""
        self._stranded = False
        self._stream: Stream | None = None
        self._sit()

    @property
    def stream(self) -> Stream:
        """The stream, which must be on the device."""
        assert self._stream is not None, "the stream is offloaded, or closed"
        return self._stream

    @property
    def offloaded(self) -> bool:
        """Whether nothing of it is on the device."""
        return self._stream is None

    @property
    def room(self) -> bool:
        """Whether the device has room for one more."""
        return self._load.room

    @property
    def wait_s(self) -> float:
        """How long a chunk may have to wait for those of others."""
        return self._load.wait_s

    @property
    def stranded(self) -> bool:
        """Whether it is offloaded, has a chunk to make, and there is no room for it."""
        return self._stranded

    def strand(self, stranded: bool) -> None:
        """Note whether it is so."""
        if stranded is not self._stranded:
            self._stranded = stranded
            self._load.changed()

    def turn(self, deadline: float) -> AbstractAsyncContextManager[None]:
        """The session's turn at the device, for a chunk that is to be there by `deadline` (of `time.monotonic`)."""
        return self._arbiter.turn(deadline)

    async def chunk(self, work: Callable[[], T]) -> T:
        """Make a chunk, in the session's turn; its time is what chunks cost the device."""
        began = time.perf_counter()
        made = await self._in_thread(work)
        self._load.note(time.perf_counter() - began)
        return made

    def beside(self, work: Callable[[], None]) -> Future[None]:
        """Do a part of a chunk in a second thread."""
        return self._executor.submit(work)

    async def restore(self, state: bytes) -> None:
        """Have the stream take up a snapshot. Raises ValueError for a bad one.

        It may be the work of many chunks: others have their turns in between, as if each step was a chunk of its own.
        """
        step = partial(next, self.stream.restoring(state), _DONE)
        done: object = None
        while done is not _DONE:
            async with self._arbiter.turn(time.monotonic() + self._load.period_s):
                done = await self._in_thread(step)

    async def export(self) -> bytes:
        """The stream's state, as exact as there is; to be asked for between chunks."""
        if self._stream is None:
            return self._state
        async with self._arbiter.turn(time.monotonic()):
            return await self._in_thread(partial(self._stream.snapshot, exact=True))

    async def offload(self) -> None:
        """Leave the device: nothing of the stream stays there."""
        with metrics.OFFLOAD.labels(self._model, "out").time():
            self._state = await self.export()
        metrics.OFFLOAD_BYTES.labels(self._model).inc(len(self._state))
        metrics.OFFLOADED.labels(self._model).inc()
        self._rise()

    async def bring_back(self) -> None:
        """Go on exactly where the stream was, on the device. There must be room."""
        metrics.OFFLOADED.labels(self._model).dec()
        self._sit()
        with metrics.OFFLOAD.labels(self._model, "back").time():
            if self._state:
                await self.restore(self._state)
        self._state = b""

    def close(self) -> None:
        """Free what is there."""
        if self._stream is None:
            metrics.OFFLOADED.labels(self._model).dec()
        else:
            self._rise()
        self._state = b""

    def _sit(self) -> None:
        self._stream = self._open()
        self._load.enter()

    def _rise(self) -> None:
        self.stream.close()
        self._stream = None
        self._load.leave()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Work of the stream in a thread of the executor. Cancelled, it waits for the thread all the same: the stream
        must not be closed, nor the device given away, under it."""
        running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            raise
