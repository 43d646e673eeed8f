"""Where one director after another plays while `benchmarks.chaos` kills."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import nullcontext

import httpx

from benchmarks.chaos_networks import Home
from benchmarks.chaos_players import Account, Director, Outage
from tests.support.api import Api

LIFE_S = (25.0, 45.0)
"""How long a session is played."""
HTTP_S = 12.0
"""A client's patience with a request; the longest is held for 8 s."""


class Seat:
    """Where one director after another plays, in a thread of their own and, if there is one, in a network."""

    def __init__(
        self, url: str, headers: Mapping[str, str], outage: Outage, home: Home | None, dice: random.Random
    ) -> None:
        self._url = url
        self._headers = headers
        self._outage = outage
        self._dice = dice
        self.home = home
        self.account = Account()
        self.director: Director | None = None

    def play(self, end: float) -> None:
        """One session after another until then."""
        with self.home.network.entered() if self.home else nullcontext():
            asyncio.run(self._play(end))

    async def _play(self, end: float) -> None:
        # A request on a connection that was made in another network would wait for what cannot come.
        anew = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=HTTP_S, limits=anew) as http:
            while (left := end - time.monotonic()) > 0:
                self.director = Director(Api(http), self.account, self._outage, self._dice)
                await self.director.play(min(left, self._dice.uniform(*LIFE_S)))
        self.director = None

    @property
    def session_id(self) -> str:
        """Of the session that is played; empty if there is none."""
        director = self.director  # of another thread than the caller's
        return director.session_id if director else ""
