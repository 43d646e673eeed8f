"""The app over the shared `cluster`, spoken to in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cluster.client import ClusterClient
from cluster.keys import KeyRing
from cluster.settings import Settings
from gateway.app import create_app
from tests.support.api import Api
from tests.support.local import LocalCluster

Headers = dict[str, str]
Mint = Callable[..., Awaitable[Headers]]
ReadyWhen = Callable[[Headers, str], Awaitable[dict[str, Any]]]


@pytest.fixture
async def app(cluster: ClusterClient, settings: Settings) -> FastAPI:
    """Patient, so that a busy machine cannot turn an answer into a 202."""
    assert all((await cluster.ready()).checks.values())
    patient = settings.limits.model_copy(update={"sdp_answer_wait_s": 30.0})
    return create_app(cluster, settings.model_copy(update={"limits": patient}))


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


@pytest.fixture
async def api(app: FastAPI, api_key: str) -> AsyncIterator[Api]:
    """A client of the first account; its requests carry a token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        signed_in = Api(client)
        await signed_in.sign_in(api_key)
        yield signed_in


@pytest.fixture
def keys(local: LocalCluster) -> KeyRing:
    """The cluster's key ring, as the command line reaches it."""
    return KeyRing(local.redis, local.settings)


@pytest.fixture
async def other_key(keys: KeyRing) -> str:
    """The raw key of a second account."""
    return (await keys.create("second"))[1]


@pytest.fixture
def mint(http: httpx.AsyncClient, api_key: str) -> Mint:
    """Mints a token and returns the header that carries it; keywords are the body's members."""

    async def _mint(raw_key: str = api_key, **body: object) -> Headers:
        answer = await http.post("/tokens", headers={"Reactor-API-Key": raw_key}, json=body)
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['jwt']}"}

    return _mint


@pytest.fixture
async def auth(mint: Mint) -> Headers:
    """A token of the whole first account."""
    return await mint()


@pytest.fixture
async def session_id(http: httpx.AsyncClient, auth: Headers) -> AsyncIterator[str]:
    """An open `echo` session of the first account."""
    answer = await http.post("/sessions", headers=auth, json={"model": {"name": "echo"}})
    assert answer.status_code == 201, answer.text
    yield answer.json()["session_id"]
    await http.delete(f"/sessions/{answer.json()['session_id']}", headers=auth)


@pytest.fixture
def until_ready(http: httpx.AsyncClient) -> ReadyWhen:
    """Polls a session, as clients do, until a worker holds it."""

    async def _until_ready(headers: Headers, session_id: str) -> dict[str, Any]:
        while True:
            answer = await http.get(f"/sessions/{session_id}", headers=headers)
            assert answer.status_code == 200, answer.text
            session: dict[str, Any] = answer.json()
            assert session["state"] not in {"CLOSED", "INACTIVE"}
            if "capabilities" in session and "selected_transport" in session:
                return session

    return _until_ready
