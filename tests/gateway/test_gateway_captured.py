"""What published clients were seen to ask, asked again: each exchange must end with the status they were given then."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.media

CAPTURED = Path(__file__).parent / "captured"
CLIENTS = ("js290", "jshead_node", "jshead_chromium", "py08", "py113")
UNSERVED_MODEL = "never"
"""One client was made to wait for a model that did not exist; here that is told at once."""


class Replay:
    """Replays one client's exchanges, with this run's ids and token in the place of the captured ones."""

    def __init__(self, http: httpx.AsyncClient, api_key: str, auth: dict[str, str], until_ready: Any) -> None:
        self.http = http
        self.api_key = api_key
        self.auth = auth
        self.until_ready = until_ready
        self.ids: dict[str, str] = {}
        self.ready = False

    async def ask(self, exchange: dict[str, Any]) -> httpx.Response:
        path = self._path(exchange["p"])
        if "/transport/" in path and not path.endswith("/ice_servers"):
            await self._wait(path)
        answer = await self.http.request(
            exchange["m"], path, headers=self._headers(exchange["h"]), content=exchange["b"].encode()
        )
        self._learn(exchange["p"], answer)
        return answer

    def _path(self, path: str) -> str:
        session = re.match(r"/sessions/([^/]+)", path)
        if session:
            path = path.replace(session[1], self.ids["session"])
        return re.sub(r"/connections/\d+", f"/connections/{self.ids.get('connection')}", path)

    def _headers(self, captured: dict[str, str]) -> dict[str, str]:
        ours = {"reactor-api-key": self.api_key, "authorization": self.auth["Authorization"]}
        return {name: ours.get(name, value) for name, value in captured.items()}

    def _learn(self, path: str, answer: httpx.Response) -> None:
        if answer.status_code == 201:
            kind = "session" if path == "/sessions" else "connection"
            self.ids[kind] = str(answer.json()[f"{kind}_id"])

    async def _wait(self, path: str) -> None:
        if not self.ready:
            await self.until_ready(self.auth, self.ids["session"])
            self.ready = True


@pytest.mark.parametrize("client", CLIENTS)
async def test_every_captured_exchange_is_accepted(
    http: httpx.AsyncClient, api_key: str, auth: dict[str, str], until_ready: Any, client: str
) -> None:
    replay = Replay(http, api_key, auth, until_ready)
    for line in (CAPTURED / f"{client}.jsonl").read_text().splitlines():
        exchange = json.loads(line)
        answer = await replay.ask(exchange)
        if UNSERVED_MODEL in exchange["b"]:
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
            return
        assert answer.status_code == exchange["s"], f"{exchange['m']} {exchange['p']}: {answer.text}"
    if "session" in replay.ids:
        await http.delete(f"/sessions/{replay.ids['session']}", headers=auth)
