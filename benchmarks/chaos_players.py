"""Those who play while `benchmarks.chaos` kills: an account's clients, one that tries at another's, and a record of all
that was not as promised.

A director hands a beat on: `move_beat` from n to n+1, and so on. What has become of its commands can then be read from
`state` alone: a lost one leaves the beat behind, one that is applied twice is refused the second time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import httpx

from benchmarks.viewer import MODEL
from tests.support.api import OVER, Api
from tests.support.client import Client
from wire.frames import Command

T = TypeVar("T")

REASON = "the play is over"
FIRST_BEAT = 100_000
"""Of the beat that is handed on; no run gets there."""
DARK_S = 4.0
"""A client that sees nothing for so long connects anew; a chunk takes 1.2 s."""
ANSWER_S = 6.0
CONNECT_S = 45.0
"""A director that cannot connect for so long gives its session up."""
PATIENCE_S = 90.0
"""A request that is refused for so long is not refused because something is dead."""
BETWEEN_COMMANDS_S = 0.3
FORBIDDEN = (404, 401, 403)
BROKEN = (httpx.TransportError, httpx.HTTPStatusError, TimeoutError, ConnectionError, RuntimeError)
"""What a client meets while parts are dead."""


@dataclass
class Outage:
    """Of Redis."""

    over_at: float = 0.0
    """When it was last known to be away, of `time.monotonic`."""


@dataclass
class Account:
    """What is found out, over all sessions of whoever keeps it."""

    sessions: int = 0
    stranded: int = 0
    """Sessions that could not be connected to for `CONNECT_S` seconds: there was no worker for them, or no way."""
    went_on: int = 0
    """Sessions that could be played for as long as was planned."""
    moves: int = 0
    commands: int = 0
    chunks: int = 0
    repeated: int = 0
    """Chunks that were announced again after a death."""
    strangers: int = 0
    """Attempts on another account's session."""
    brief: int = 0
    """Losses of a client's network that were shorter than what it takes to give a connection up."""
    outlasted: int = 0
    """Those of them after which the same connection went on."""
    violations: list[str] = field(default_factory=list)

    def __add__(self, other: Account) -> Account:
        return Account(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def violated(self, session_id: str, text: str) -> None:
        """Note what must not be."""
        self.violations.append(f"{session_id}: {text}")


class Director:
    """One session from its creation to its end, whatever happens to the cluster."""

    def __init__(self, api: Api, account: Account, outage: Outage, dice: random.Random) -> None:
        self._api = api
        self._account = account
        self._outage = outage
        self._dice = dice
        self._announced: dict[int, float] = {}
        self._last = 0
        """The highest chunk so far."""
        self._next = 0
        """The chunk that the present peer is told of next; 0 before its first."""
        self._beat = FIRST_BEAT
        """Where the last answered command has left it."""
        self._seen_at = 0.0
        """When a picture came."""
        self._client: Client | None = None
        self._started = False
        self.session_id = ""

    async def play(self, seconds: float) -> None:
        """Create the session, direct it for so long, and end it."""
        self.session_id = await self._created()
        self._account.sessions += 1
        end, played = time.monotonic() + seconds, False
        try:
            while not played and await self._connected():
                await self._direct(end)
                played = time.monotonic() >= end
        finally:
            await self._dropped()
        await self._finish(played=played)

    def sees(self, within_s: float) -> bool:
        """Whether a picture has come in the last so many seconds."""
        return time.monotonic() - self._seen_at < within_s

    @property
    def connection(self) -> Client | None:
        """What it directs by now; None while it is not connected."""
        return self._client if self._next else None

    # --- connections

    async def _created(self) -> str:
        return await _surely(lambda: self._api.create(MODEL))

    async def _connected(self) -> bool:
        """Connect, again and again; False if the session is over."""
        limit = time.monotonic() + CONNECT_S
        while True:
            await self._dropped()
            try:
                session = await self._api.session(self.session_id)
                if session.state in OVER:
                    return False
                async with asyncio.timeout(CONNECT_S):
                    await self._connect()
                return True
            except BROKEN:
                if time.monotonic() > limit:
                    self._account.stranded += 1
                    return False
                await asyncio.sleep(self._dice.uniform(0.1, 0.5))

    async def _connect(self) -> None:
        client = Client(self._api, self.session_id, protocol="v1", on_frame=self._picture, on_message=self._message)
        self._client, self._next = client, 0
        await client.connect()
        async with asyncio.timeout(ANSWER_S):
            while not self._next:
                await asyncio.sleep(0.01)  # the greeting
        if not self._started:
            for name, data in (
                ("set_shot", {"prompt": "a red dune"}),
                ("schedule_shot", {"prompt": "a harbour", "at_session_chunk": FIRST_BEAT}),
                ("start", {}),
            ):
                await self._command(name, data)
            self._started = True

    async def _dropped(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    # --- what is said and heard

    async def _direct(self, end: float) -> None:
        """Hand the beat on until the time is over or the peer is dead."""
        self._seen_at = time.monotonic()
        with suppress(TimeoutError, ConnectionError):
            while time.monotonic() < end:
                if not self.sees(DARK_S):
                    raise ConnectionError("dark")
                await self._command("move_beat", {"from": self._beat, "to": self._beat + 1})
                self._beat += 1
                await asyncio.sleep(self._dice.uniform(0, 2 * BETWEEN_COMMANDS_S))

    async def _command(self, name: str, data: dict[str, Any]) -> None:
        """Raises TimeoutError, ConnectionError: whether it was accepted is not known."""
        assert self._client is not None
        if not self._client.peer.is_open():
            raise ConnectionError("closed")
        async with asyncio.timeout(ANSWER_S):
            kind, reply = await self._client.peer.ask(Command(name, data, {}))
        if kind == "error":
            self._account.violated(self.session_id, f"{name} {data} refused: {reply}")
        self._account.commands += 1

    def _picture(self, *_: object) -> None:
        self._seen_at = time.monotonic()

    def _message(self, kind: str, data: dict[str, Any]) -> None:
        match kind:
            case "state" if not self._next:
                self._greeted(data)
            case "chunk_complete":
                self._chunk(int(data["session_chunk"]))
            case "session_moved":
                self._account.moves += 1
            case "command_error":
                self._account.violated(self.session_id, f"{data}")

    def _greeted(self, state: dict[str, Any]) -> None:
        """The first state on a peer says what the session has become."""
        done = int(state["session_chunk"])
        self._next = done + 1
        if done < self._last:
            self._account.repeated += self._last - done
            since = self._announced.get(done + 1, 0.0)
            if done < self._last - 1 and since > self._outage.over_at:
                self._account.violated(self.session_id, f"chunk {done + 1} again, after {self._last}")
        if not self._started:
            return
        shots = state["scheduled_shots"]
        if shots not in ([self._beat], [self._beat + 1]):
            self._account.violated(self.session_id, f"the beat is at {shots}, and {self._beat} was accepted")
        else:
            self._beat = int(shots[0])

    def _chunk(self, number: int) -> None:
        if number != self._next:
            self._account.violated(self.session_id, f"chunk {number} where {self._next} comes next")
        self._next = number + 1
        self._account.chunks += number > self._last
        self._last = max(self._last, number)
        self._announced.setdefault(number, time.monotonic())

    # --- the end

    async def _finish(self, *, played: bool) -> None:
        state = (await _surely(lambda: self._api.session(self.session_id))).state
        if state not in OVER:
            await _surely(lambda: self._api.delete(self.session_id, REASON))
        self._account.went_on += played and state not in OVER


async def _surely(call: Callable[[], Awaitable[T]]) -> T:
    """What a call that may be repeated returns, once it does. Raises its failure after `PATIENCE_S` seconds of them."""
    limit = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await call()
        except BROKEN:
            if time.monotonic() > limit:
                raise
            await asyncio.sleep(0.5)


class Stranger:
    """Another account, which must get nowhere."""

    def __init__(self, api: Api, account: Account) -> None:
        self._api = api
        self._account = account

    async def try_on(self, session_id: str) -> None:
        """Look at a session, connect to it, wake it, end it."""
        path = f"/sessions/{session_id}"
        for method, of in (("GET", ""), ("POST", "/transport/webrtc/connections"), ("PUT", ""), ("DELETE", "")):
            with suppress(httpx.TransportError):
                answer = await self._api.http.request(method, path + of)
                self._account.strangers += 1
                if answer.status_code < 500 and answer.status_code not in FORBIDDEN:
                    self._account.violated(session_id, f"a stranger's {method} {of} was {answer.status_code}")
