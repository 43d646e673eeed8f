"""When a session's next chunk starts, and the chunk itself.

Just in time: the next chunk is planned as late as it can be without playout running dry, so that a command acts on the
very next boundary and no buffer grows. "As late as it can be" is the 95th percentile of what recent chunks took until
their first picture, plus a margin, and at most one chunk.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, wait
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cluster import metrics
from cluster.arbiter import Arbiter
from models.contract import ChunkPlan, ChunkResult, Director, Message, ModelSpec, Stream
from models.media import AudioSamples, Inputs, Media

T = TypeVar("T")

MARGIN_S = 0.05
SAMPLES = 20


class Playout(Protocol):
    """The outbound side of a video track (`cluster.media.output.VideoOutput`)."""

    @property
    def queued_s(self) -> float:
        """Seconds accepted and not yet released."""
        ...

    def push(self, rgb: NDArray[np.uint8]) -> None:
        """Accept pictures."""
        ...

    async def wait_below(self, seconds: float) -> None:
        """Return when `queued_s <= seconds`."""
        ...

    def flush(self) -> None:
        """Drop what is queued."""
        ...


class Sound(Protocol):
    """The outbound side of an audio track."""

    def push(self, pcm: NDArray[np.int16], rate: int) -> None:
        """Accept samples."""
        ...


class Scheduler:
    """The generation loop of one session."""

    def __init__(
        self,
        spec: ModelSpec,
        director: Director,
        stream: Stream,
        *,
        video: Mapping[str, Playout],
        audio: Mapping[str, Sound],
        inputs: Callable[[], Inputs],
        broadcast: Callable[[Sequence[Message]], None],
        completed: Callable[[bytes], None],
        arbiter: Arbiter,
        executor: Executor,
    ) -> None:
        self._spec = spec
        self._director = director
        self._stream = stream
        self._video = video
        self._audio = audio
        self._inputs = inputs
        self._broadcast = broadcast
        self._completed = completed
        self._arbiter = arbiter
        self._executor = executor
        self._playout = video[spec.main_video.name]
        self._first_picture_s: deque[float] = deque(maxlen=SAMPLES)
        self._news = asyncio.Event()
        self._watched = asyncio.Event()
        self._fresh = True
        self._finishing = False
        self._started, self._frames = 0.0, 0
        assert spec.main_video.video is not None
        self._chunk_s = spec.geometry.first / spec.main_video.video.fps

    def wake(self) -> None:
        """The director has changed: look again whether there is something to generate."""
        self._news.set()

    def set_watched(self, watched: bool) -> None:
        """Generation rests while no connection is open: a story does not go on without anyone to see it."""
        if watched:
            self._watched.set()
        else:
            self._watched.clear()

    def finish(self) -> None:
        """Plan no further chunk: `run` returns when all that was generated has been shown."""
        self._finishing = True
        self._watched.set()
        self._news.set()

    def flush(self) -> None:
        """A run was abandoned: drop its pictures."""
        for output in self._video.values():
            output.flush()

    @property
    def lead_s(self) -> float:
        """Seconds of queued pictures at which the next chunk is planned."""
        if not self._first_picture_s:
            return self._chunk_s
        late = sorted(self._first_picture_s)[int(0.95 * (len(self._first_picture_s) - 1))]
        return min(self._chunk_s, late + MARGIN_S)

    async def restore(self, state: bytes) -> None:
        """Have the stream take up a snapshot: as much work as a chunk. Raises ValueError for a bad one."""
        async with self._arbiter.turn(time.monotonic()):
            await self._in_thread(self._stream.restore, state)

    async def export(self) -> bytes:
        """The stream's state, as exact as there is. To be asked for when `run` has returned."""
        async with self._arbiter.turn(time.monotonic()):
            return await self._in_thread(partial(self._stream.snapshot, exact=True))

    async def run(self) -> None:
        """Generate until cancelled, or finished."""
        while not self._finishing:
            await self._playout.wait_below(self.lead_s)
            await self._watched.wait()  # the last viewer may have left meanwhile
            if self._finishing:
                break
            self._news.clear()
            plan = self._director.begin_chunk()
            if plan is None:
                self._fresh = True
                await self._news.wait()
                continue
            self._broadcast(plan.messages)
            state = await self._generate(plan)
            self._broadcast(self._director.end_chunk(ChunkResult(plan, self._frames)))
            self._completed(state)
        await self._playout.wait_below(0)

    async def _generate(self, plan: ChunkPlan) -> bytes:
        """Make the chunk; returns the stream's snapshot after it."""
        loop = asyncio.get_running_loop()
        async with self._arbiter.turn(time.monotonic() + self._playout.queued_s):
            self._started, self._frames = time.perf_counter(), 0

            def emit(media: Media) -> None:
                loop.call_soon_threadsafe(self._accept, plan, media)

            return await self._in_thread(self._chunk, plan, self._inputs(), emit)

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        """Work of the stream in a thread of the executor. Cancelled, it waits for the thread all the same: the stream
        must not be closed, nor the device given away, under it."""
        running = asyncio.get_running_loop().run_in_executor(self._executor, partial(work, *args))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            raise

    def _chunk(self, plan: ChunkPlan, inputs: Inputs, emit: Callable[[Media], None]) -> bytes:
        """One chunk, in a thread of the executor: the verbs in order, media handed to the loop as they come.

        The commit needs nothing of the pictures, nor they of it: it runs beside the decoding, in a second thread.
        """
        with self._timed("total"):
            with self._timed("generate"):
                self._stream.prepare(plan)
                latents: Any = self._stream.generate(inputs)
            pieces = self._stream.decode(latents)
            committed = self._executor.submit(self._commit)
            try:
                with self._timed("decode"):
                    for media in pieces:
                        emit(media)
            finally:
                wait([committed])
            committed.result()
        return self._stream.snapshot()

    def _commit(self) -> None:
        with self._timed("commit"):
            self._stream.commit()

    def _timed(self, stage: str) -> AbstractContextManager[Any]:
        return metrics.CHUNK.labels(self._spec.name, stage).time()

    def _accept(self, plan: ChunkPlan, media: Media) -> None:
        """Take one piece of media, in the loop, where commands are handled too: after a reset nothing old is shown."""
        if self._director.run != plan.run:
            return
        if isinstance(media, AudioSamples):
            self._audio[media.track].push(media.pcm, media.rate)
            return
        if media.track == self._spec.main_video.name:
            if self._frames == 0:
                self._note_first(time.perf_counter() - self._started)
            self._frames += len(media.rgb)
            metrics.FRAMES.labels(self._spec.name).inc(len(media.rgb))
        self._video[media.track].push(media.rgb)

    def _note_first(self, seconds: float) -> None:
        self._first_picture_s.append(seconds)
        if not self._fresh and self._playout.queued_s <= 0:
            metrics.CHUNKS_LATE.labels(self._spec.name).inc()
        self._fresh = False
