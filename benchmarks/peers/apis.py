"""The HTTP half of a viewer, for each contestant. The rest of it, `tests.support.client.Client`, all have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.api import Api
from tests.support.waiting import eventually
from wire.http import SdpOffer

TIMEOUT_S = 30.0
NOT_YET = (httpx.codes.CONFLICT, httpx.codes.SERVICE_UNAVAILABLE)
THE_ONLY = 1002
"""A connection id, for a server that has none."""


class ReactorApi(Api):
    """The local mode of `reactor-runtime`: one session, whose transport is on the paths of our own wire."""

    async def create(self, model: str, **more: Any) -> str:
        """Start the session; while it loads, or the one before it closes, it cannot be started yet."""

        async def started() -> httpx.Response | None:
            reply = await self.http.post("/start_session", json={})
            return None if reply.status_code in NOT_YET else reply.raise_for_status()

        session_id: str = (await eventually(started)).json()["session_id"]
        return session_id

    async def ready(self, session_id: str) -> Any:
        """It is, once started."""

    async def delete(self, session_id: str, reason: str | None = None) -> None:
        await self._call("POST", "/stop_session")


class StockApi(Api):
    """The few paths of `benchmarks.peers.stock`."""

    async def create(self, model: str, **more: Any) -> str:
        await self._call("POST", "/session")
        return "the-session"

    async def ready(self, session_id: str) -> Any:
        """It is, once created."""

    async def create_connection(self, session_id: str) -> int:
        return THE_ONLY

    async def exchange(self, session_id: str, connection_id: int, offer: SdpOffer, *, again: bool = False) -> str:
        answer: str = (await self._call("POST", "/offer", offer.model_dump())).json()["sdp_answer"]
        return answer

    async def delete(self, session_id: str, reason: str | None = None) -> None:
        await self._call("DELETE", "/session")


APIS: dict[str, type[Api]] = {"cluster": Api, "aiortc": StockApi, "reactor-runtime": ReactorApi}
"""By contestant."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a contestant is, so that another process can go there, too."""

    contestant: str
    url: str
    key: str = ""

    @asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        """Its wire, signed in where there is something to sign in to."""
        async with httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT_S) as http:
            api = APIS[self.contestant](http)
            if self.key:
                await api.sign_in(self.key)
            yield api
