"""Connections through the gateway, with real peers: prepared by a backend, adopted, lost, come back to; their roles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import groupby
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cluster import metrics
from longlive import stamp
from tests.support.api import Api
from tests.support.client import Client
from tests.support.local import LocalCluster
from tests.support.received import Received
from tests.support.waiting import eventually
from tests.support.webcam import Webcam
from wire.http import SessionState

pytestmark = pytest.mark.media

SignIn = Callable[..., Awaitable[Api]]


@pytest.fixture
async def sign_in(app: FastAPI, api_key: str) -> AsyncIterator[SignIn]:
    """Clients of the first account, each with a token of its own; keywords are members of the token request."""
    async with AsyncExitStack() as stack:

        async def _sign_in(**request: Any) -> Api:
            http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
            api = Api(await stack.enter_async_context(http))
            await api.sign_in(api_key, **request)
            return api

        yield _sign_in


def only(session_id: str, **more: Any) -> dict[str, Any]:
    """A token request for one session alone."""
    resources = {"models": {"all": True}, "sessions": {"bind": [session_id]}}
    return {"authorization_details": [{"type": "session", "resources": resources, **more}]}


def counted() -> float:
    return float(metrics.CONNECTIONS.labels("echo")._value.get())


def pictures(client: Client, count: int = 3) -> Awaitable[None]:
    return client.peer.received["main_video"].wait(lambda received: len(received.pictures) >= count)


async def said(client: Client, count: int = 1) -> list[tuple[str, Any]]:
    """The first messages that the client's present peer was sent."""
    await client.peer.until(lambda: len(client.peer.messages) >= count)
    return client.peer.messages[:count]


def fall_silent(local: LocalCluster, client: Client) -> None:
    """The client's network is gone, and has been for longer than a connection is waited for."""
    client.peer.vanish()
    watchdog = local.session(client.session_id).connections.get(client.connection_id)._watchdog
    watchdog._last -= local.settings.media.ping_timeout_s
    watchdog.check()


async def test_browsers_adopt_what_a_backend_has_prepared(sign_in: SignIn) -> None:
    backend, before = await sign_in(), counted()
    session_id = await backend.create("echo")
    await backend.ready(session_id)
    prepared = await backend.create_connection(session_id)
    api = await sign_in(**only(session_id))
    async with Client(api, session_id) as first, Client(api, session_id) as second:
        await first.connect(prepared)
        await second.connect()
        assert first.connection_id == prepared != second.connection_id
        for browser in (first, second):
            assert await said(browser) == [("effect_changed", {"effect": "none", "intensity": 1.0})]
            await pictures(browser)
        first.peer.command("set_effect", {"effect": "sepia"})
        await eventually(lambda: ("effect_changed", {"effect": "sepia", "intensity": 1.0}) in second.peer.messages)
        assert counted() == before + 2
        await second.close()
        await eventually(lambda: counted() == before + 1)
        assert (await backend.session(session_id)).state is SessionState.ACTIVE, "who adopts leaves, and no more"
        await backend.delete(session_id, "the show is over")
        assert await first.peer.message("sessionEnded") == {"reason": "the show is over"}
        await eventually(first.peer.is_closed)
    assert counted() == before


@pytest.mark.parametrize("fresh", [False, True], ids=["on the same id", "on a fresh id"])
async def test_who_comes_back_is_not_a_second_user(sign_in: SignIn, local: LocalCluster, fresh: bool) -> None:
    api, before = await sign_in(), counted()
    async with await Client.create(api, "echo", inputs={"webcam": Webcam()}) as client:
        await client.connect()
        former = client.peer
        assert (await former.request("publish_track", "webcam"))["data"] == {}
        session = local.session(client.session_id)
        if fresh:
            await former.close()  # as published clients do before they ask for another id
            await eventually(lambda: not session.connections.ids)
        else:
            former.vanish()
        await client.reconnect(fresh=fresh)
        await pictures(client)
        assert session.connections.ids == [client.connection_id]
        assert counted() == before + 1
        assert len(session._publishers) == 0, "what the former peer published is withdrawn"
        assert (await client.peer.request("publish_track", "webcam"))["data"] == {}
        assert (await api.session(client.session_id)).state is SessionState.ACTIVE
    await eventually(lambda: counted() == before)


async def test_who_falls_silent_makes_room_for_itself(sign_in: SignIn, local: LocalCluster) -> None:
    """Lost without a word and back on a fresh id: the former peer counts and holds its slot until it is given up."""
    api, before = await sign_in(), counted()
    async with await Client.create(api, "echo", inputs={"webcam": Webcam()}) as client:
        await client.connect()
        await client.peer.request("publish_track", "webcam")
        session = local.session(client.session_id)
        client.peer.vanish()
        await client.reconnect(fresh=True)
        assert (await client.peer.request("publish_track", "webcam"))["error"]["code"] == "publish_refused"
        await eventually(lambda: session.connections.ids == [client.connection_id])
        assert counted() == before + 1
        assert (await client.peer.request("publish_track", "webcam"))["data"] == {}


async def test_the_last_one_to_fall_silent_is_waited_for(sign_in: SignIn, local: LocalCluster) -> None:
    api, before = await sign_in(), counted()
    async with await Client.create(api, "echo") as client:
        await client.connect()
        fall_silent(local, client)
        assert counted() == before

        async def suspended() -> bool:
            return (await api.session(client.session_id)).state is SessionState.SUSPENDED

        await eventually(suspended)
        await client.reconnect()
        assert (await said(client))[0][0] == "effect_changed"
        await pictures(client)
        assert (await api.session(client.session_id)).state is SessionState.ACTIVE


def numbers(received: Received) -> list[int | None]:
    return [number for number, _ in groupby(stamp.read(picture) for picture in received.pictures)]


async def test_who_joins_sees_what_is_now(sign_in: SignIn, local: LocalCluster) -> None:
    """First the state and what is planned, then pictures from the present one on."""
    api = await sign_in()
    async with await Client.create(api, "longlive-v2") as director:
        await director.connect()
        director.peer.command("set_shot", {"prompt": "dunes"})
        director.peer.command("schedule_shot", {"prompt": "a storm", "at_session_chunk": 40})
        director.peer.command("start")
        await director.peer.message("chunk_complete")
        await director.peer.message("chunk_complete")
        output = local.session(director.session_id)._outbound.video["main_video"]
        async with Client(await sign_in(**only(director.session_id, role="viewer")), director.session_id) as viewer:
            shown = output.stats.released
            await viewer.connect()
            (kind, state), (planned, beats) = await said(viewer, 2)
            assert (kind, state["running"], state["current_prompt"]) == ("state", True, "dunes")
            assert state["session_chunk"] >= 2
            assert (planned, beats["beats"][0]["prompt"]) == ("beats_listed", "a storm")
            await viewer.peer.received["main_video"].wait(lambda received: len(numbers(received)) >= 5)
            seen = numbers(viewer.peer.received["main_video"])[:5]
            assert seen[0] is not None
            assert seen[0] >= shown - 1, "nothing of before"
            assert seen == list(range(seen[0], seen[0] + 5))


async def test_a_role_is_that_of_the_newest_offers_token(sign_in: SignIn) -> None:
    api = await sign_in()
    async with await Client.create(api, "echo") as director:
        await director.connect()
        watching = await sign_in(**only(director.session_id, role="viewer"))
        async with Client(watching, director.session_id) as guest:
            await guest.connect()
            guest.peer.command("set_effect", {"effect": "sepia"})
            await guest.peer.message("command_error")
            for attempt in (guest.connect(director.connection_id), watching.delete(director.session_id)):
                with pytest.raises(httpx.HTTPStatusError) as refused:
                    await attempt
                code = {409: "connection_taken", 403: "forbidden_role"}[refused.value.response.status_code]
                assert refused.value.response.json()["code"] == code
        await director.peer.message("effect_changed")
        director.peer.command("set_effect", {"effect": "blur"})
        assert (await director.peer.message("effect_changed"))["effect"] == "blur", "neither kicked out nor demoted"

        async with Client(watching, director.session_id) as guest:
            await guest.connect()
            guest.api = await sign_in(**only(director.session_id))
            await guest.reconnect()
            guest.peer.command("set_effect", {"effect": "edges"})
            assert (await director.peer.message("effect_changed"))["effect"] == "edges", "another token, another role"
            guest.api = watching
            await guest.reconnect(fresh=True)
            guest.peer.command("set_effect", {"effect": "sepia"})
            await guest.peer.message("command_error")
