"""When a session's next chunk starts, and the chunk itself.

Just in time: the next chunk is planned as late as it can be without playout running dry, so that a command acts on the
very next boundary and no buffer grows. "As late as it can be" is the 95th percentile of what recent chunks took until
their first picture, plus what the chunks of all others on the device take, plus a margin, and at most one chunk.

A stream that has rested for `offload_after_s`, because its director is paused or nobody watches, leaves the device. It
comes back when there is a chunk to make.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.meters import ChunkMeter
from cluster.seat import Seat
from models.contract import ChunkPlan, ChunkResult, Director, Message, ModelSpec
from models.media import AudioSamples, Inputs, Media

MARGIN_S = 0.05
SAMPLES = 20


class Playout(Protocol):
    """The outbound side of a video track (`cluster.media.output.VideoOutput`)."""

    @property
    def queued_s(self) -> float:
        """Seconds accepted and not yet released."""
        ...

    @property
    def lead_s(self) -> float:
        """Seconds until a picture accepted now would be due; less than 0 by how late it would be."""
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


class Work(Protocol):
    """What is told of a session's work (`cluster.stay.Stay`)."""

    def playing(self, playing: bool) -> None:
        """Whether there is something to play."""
        ...

    def made(self, frames: int, busy_s: float) -> None:
        """A chunk of so many pictures, which took the device so long."""
        ...


class Sound(Protocol):
    """The outbound side of an audio track."""

    def push(self, pcm: NDArray[np.int16], rate: int) -> None:
        """Accept samples."""
        ...


class Scheduler:
    """The generation loop of one session. `due` tells whether the director would plan a chunk, without having it do so;
    with no `offload_after_s` a stream stays where it is."""

    def __init__(
        self,
        spec: ModelSpec,
        director: Director,
        seat: Seat,
        *,
        video: Mapping[str, Playout],
        audio: Mapping[str, Sound],
        inputs: Callable[[], Inputs],
        meter: ChunkMeter,
        work: Work,
        broadcast: Callable[[Sequence[Message]], None],
        completed: Callable[[bytes], None],
        due: Callable[[], bool],
        offload_after_s: float | None,
    ) -> None:
        self._spec = spec
        self._director = director
        self._seat = seat
        self._video = video
        self._audio = audio
        self._inputs = inputs
        self._broadcast = broadcast
        self._completed = completed
        self._due = due
        self._offload_after_s = offload_after_s
        self._resting_since: float | None = None
        self._playout = video[spec.main_video.name]
        self._first_picture_s: deque[float] = deque(maxlen=SAMPLES)
        self._news = asyncio.Event()
        self._watched = asyncio.Event()
        self._fresh = True
        self._finishing = False
        self._meter = meter
        self._work = work
        self._started, self._frames, self._publish_s, self._took_s = 0.0, 0, 0.0, 0.0
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
        return min(self._chunk_s, late + self._seat.wait_s + MARGIN_S)

    async def run(self) -> None:
        """Generate until cancelled, or finished."""
        while not self._finishing:
            await self._playout.wait_below(self.lead_s)
            await self._rest(self._watched)  # the last viewer may have left meanwhile
            if self._finishing:
                break
            self._news.clear()
            if self._seat.offloaded:
                if not await self._bring_back():
                    await self._news.wait()
                continue
            plan = self._director.begin_chunk()
            self._work.playing(plan is not None)
            if plan is None:
                self._fresh = True
                await self._rest(self._news)
                continue
            self._resting_since = None
            self._broadcast(plan.messages)
            state = await self._generate(plan)
            self._work.made(self._frames, self._took_s)
            if self._publish_s:
                self._meter.took("publish", self._publish_s)
            self._meter.whole(plan.run, plan.chunk)
            self._broadcast(self._director.end_chunk(ChunkResult(plan, self._frames)))
            self._completed(state)
        await self._playout.wait_below(0)

    async def _rest(self, until: asyncio.Event) -> None:
        """Wait; who rests for long leaves the device."""
        if until.is_set():
            return
        now = time.monotonic()
        self._resting_since = now if self._resting_since is None else self._resting_since
        if self._offload_after_s is not None and not self._seat.offloaded:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._resting_since + self._offload_after_s - now):
                    await until.wait()
            if not until.is_set():
                await self._seat.offload()
        await until.wait()

    async def _bring_back(self) -> bool:
        """Have the stream on the device if there is a chunk to make; False if there is none, or no room for it."""
        due = self._due()
        self._seat.strand(due and not self._seat.room)
        if not due or self._seat.stranded:
            return False
        await self._seat.bring_back()
        self._fresh, self._resting_since = True, None
        return True

    async def _generate(self, plan: ChunkPlan) -> bytes:
        """Make the chunk; returns the stream's snapshot after it."""
        loop = asyncio.get_running_loop()

        def emit(media: Media) -> None:
            loop.call_soon_threadsafe(self._accept, plan, media, time.perf_counter())

        async with self._seat.turn(time.monotonic() + self._playout.queued_s):
            self._started, self._frames, self._publish_s = time.perf_counter(), 0, 0.0
            state = await self._seat.chunk(partial(self._chunk, plan, self._inputs(), emit))
            self._took_s = time.perf_counter() - self._started
            return state

    def _chunk(self, plan: ChunkPlan, inputs: Inputs, emit: Callable[[Media], None]) -> bytes:
        """One chunk, in a thread of the executor: the verbs in order, media handed to the loop as they come.

        The commit needs nothing of the pictures, nor they of it: it runs beside the decoding, in a second thread.
        """
        stream = self._seat.stream
        with self._meter.timed("total"):
            with self._meter.timed("text"):
                stream.prepare(plan)
            with self._meter.timed("denoise"):
                latents: Any = stream.generate(inputs)
            pieces = stream.decode(latents)
            committed = self._seat.beside(self._commit)
            try:
                with self._meter.timed("decode"):
                    for media in pieces:
                        emit(media)
            finally:
                wait([committed])
            committed.result()
        return stream.snapshot()

    def _commit(self) -> None:
        with self._meter.timed("commit"):
            self._seat.stream.commit()

    def _accept(self, plan: ChunkPlan, media: Media, made_at: float) -> None:
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
            self._meter.pictures(len(media.rgb))
        self._video[media.track].push(media.rgb)
        self._publish_s = max(self._publish_s, time.perf_counter() - made_at)

    def _note_first(self, seconds: float) -> None:
        self._first_picture_s.append(seconds)
        if not self._fresh:
            self._meter.lead(self._playout.lead_s)
        self._fresh = False
