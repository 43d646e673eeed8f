"""A process of players: `python -m benchmarks.load.players`, a `Job` as a line of its input, `News` as lines of its
output, the first once it is ready. Sessions without a time to leave go with the end of the input."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from typing import Literal

import httpx
from aiortc.exceptions import InvalidStateError

from benchmarks.load.seen import KEY, Control, Job, News, Part, Seen
from benchmarks.viewer import MODEL, Viewer, signed_in
from longlive import stamp
from tests.support.api import Api
from tests.support.received import MediaFrame
from tests.support.rtc_client import RtcClient

FIRST_PICTURE_S = 60.0
"""Longer than this without a picture is a failure."""
FAILURES = (httpx.HTTPError, TimeoutError, RuntimeError, ConnectionError, InvalidStateError)
"""What a session may end with; anything else is a fault of this programme and ends it."""


class Player(Viewer):
    """A viewer that also takes pictures without a number: it counts them."""

    stamped = True

    def _picture(self, track: str, frame: MediaFrame) -> None:
        if not self.frames:
            self.stamped = stamp.read(frame.to_ndarray(format="rgb24")) is not None
        if self.stamped:
            super()._picture(track, frame)
        else:
            self.frames.append((time.perf_counter(), len(self.frames)))
            self._changed.set()


class Session:
    """One session: its director plays the trace, its viewers watch. It is over when its time has come, or all `end`."""

    def __init__(self, api: Api, job: Job, part: Part, end: asyncio.Event) -> None:
        self._api = api
        self._job = job
        self._part = part
        self._end = end
        self._over = asyncio.Event()
        self._said = False
        self.seen: list[Seen] = []

    async def play(self) -> None:
        """From its time on, until it is over; `seen` is filled whatever happens."""
        await asyncio.sleep(max(0.0, self._part.at - time.perf_counter()))
        asked = time.perf_counter()
        try:
            async with await Player.create(self._api, MODEL, codec=self._job.codec) as director:
                await self._play(director, asked)
        except FAILURES as failure:
            self._failed("director", asked, failure)
            self._begun()

    async def _play(self, director: Player, asked: float) -> None:
        await director.connect()
        director.command("set_shot", prompt=self._job.trace.opening)
        director.command("start")
        await director.until(lambda: bool(director.frames), FIRST_PICTURE_S)
        watching = [asyncio.create_task(self._watch(director.session_id)) for _ in range(self._job.viewers)]
        self._begun()
        try:
            controls = await self._direct(director)
            self.seen.append(_seen("director", director, asked, controls))
        finally:
            self._over.set()
            await asyncio.gather(*watching)

    def _begun(self) -> None:
        """Say so, once."""
        if not self._said:
            _say(News(begun=1))
        self._said = True

    async def _direct(self, director: Player) -> list[tuple[float, str]]:
        """Send what is due until the session is over; when live commands were sent, and their prompts."""
        begun, controls = time.perf_counter(), []
        for order in self._job.trace.orders():
            if await self._is_over_before(begun + order.at_s):
                break
            if order.live:
                controls.append((time.perf_counter(), str(order.arguments["prompt"])))
            director.command(order.command, **order.arguments)
        return controls

    async def _is_over_before(self, due: float) -> bool:
        leave = math.inf if self._part.leave is None else self._part.leave
        try:
            async with asyncio.timeout(max(0.0, min(due, leave) - time.perf_counter())):
                await self._end.wait()
        except TimeoutError:
            return leave < due
        return True

    async def _watch(self, session_id: str) -> None:
        asked = time.perf_counter()
        viewer = Player(self._api, session_id, codec=self._job.codec)
        try:
            await viewer.connect()
            await viewer.until(lambda: bool(viewer.frames), FIRST_PICTURE_S)
            await self._over.wait()
            self.seen.append(_seen("viewer", viewer, asked, []))
        except FAILURES as failure:
            self._failed("viewer", asked, failure)
        finally:
            await viewer.close()

    def _failed(self, role: Literal["director", "viewer"], asked: float, failure: Exception) -> None:
        self.seen.append(Seen(role=role, asked=asked, failure=f"{type(failure).__name__}: {failure}"))


def _seen(role: Literal["director", "viewer"], player: Player, asked: float, controls: list[tuple[float, str]]) -> Seen:
    chunks = [data for _, data in player.of_type("chunk_complete")]
    ends = [int(chunk["frames_emitted"]) for chunk in chunks]
    first_of: dict[str, int] = {}
    for chunk, first in zip(chunks, [0, *ends], strict=False):
        first_of.setdefault(chunk["active_prompt"], first)
    shown = [(sent, _shown(player, first_of.get(prompt))) for sent, prompt in controls]
    refused = len(player.of_type("command_error"))
    return Seen(
        role=role,
        asked=asked,
        answered=player.answered_at,
        left=time.perf_counter(),
        stamped=player.stamped,
        pictures=player.frames,
        firsts=ends if player.stamped else [],
        controls=[Control(sent=sent, shown=at) for sent, at in shown] if player.stamped else [],
        failure=f"{refused} commands were refused" if refused else "",
    )


def _shown(player: Player, first: int | None) -> float | None:
    """When the picture of this number, or a later one, came."""
    return None if first is None else next((at for at, number in player.frames if number >= first), None)


def _say(news: News) -> None:
    sys.stdout.write(news.model_dump_json() + "\n")
    sys.stdout.flush()


async def play(job: Job, key: str) -> list[Seen]:
    """All sessions of the job, and what was seen of them."""
    end = asyncio.Event()
    async with signed_in(job.url, key) as api, asyncio.TaskGroup() as group:
        sessions = [Session(api, job, part, end) for part in job.parts]
        playing = [group.create_task(session.play()) for session in sessions]
        reading = group.create_task(_input_ends(end))
        await asyncio.wait(playing)
        await reading
    return [seen for session in sessions for seen in session.seen]


async def _input_ends(end: asyncio.Event) -> None:
    await asyncio.to_thread(sys.stdin.read)
    end.set()


async def _main() -> None:
    warm = RtcClient()  # what a process builds once is no part of a session's time
    await warm.offer()
    await warm.close()
    _say(News())
    if line := await asyncio.to_thread(sys.stdin.readline):
        _say(News(seen=await play(Job.model_validate_json(line), os.environ[KEY])))


def main() -> None:
    """Say that all is loaded, then play the job of the first line."""
    asyncio.run(_main())


if __name__ == "__main__":
    main()
