from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

import pytest

from cluster.errors import NotFound, Unavailable
from cluster.watch import AT_ONCE, Key, View, Watch
from tests.support.waiting import eventually
from wire.http import ModelRef, QueuePosition, ServerInfo, Session, SessionState

pytestmark = pytest.mark.fast


def view(state: SessionState = SessionState.PENDING, position: int = 0, moves: int = 0) -> View:
    queue = QueuePosition(position=position, eta_s=None) if state is SessionState.PENDING else None
    model, server = ModelRef(name="echo", version="v0"), ServerInfo(server_version="0")
    return View(Session(session_id="s", state=state, cluster="c", model=model, server_info=server, queue=queue), moves)


class Sessions:
    """What the cluster knows, and how often it was asked."""

    def __init__(self) -> None:
        self.views: dict[Key, View] = {}
        self.asked: list[Collection[Key]] = []
        self.away = False

    async def look(self, keys: Collection[Key]) -> dict[Key, View]:
        self.asked.append(list(keys))
        if self.away:
            raise Unavailable("no registry")
        return {key: self.views[key] for key in keys if key in self.views}


@pytest.fixture
async def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
async def watch(sessions: Sessions) -> AsyncIterator[Watch]:
    made = Watch(sessions.look, interval_s=0.001)
    yield made
    await made.close()


async def test_a_listener_sees_now_every_change_and_the_end(sessions: Sessions, watch: Watch) -> None:
    steps = [view(position=3), view(position=1), view(SessionState.WAITING), view(SessionState.CLOSED)]
    sessions.views["t", "s"] = steps[0]
    seen = []
    async for now in await watch.follow(("t", "s")):
        seen.append(now)
        if len(seen) < len(steps):
            sessions.views["t", "s"] = steps[len(seen)]
    assert seen == steps
    assert watch.listeners == 0


async def test_what_does_not_change_is_not_said_again(sessions: Sessions, watch: Watch) -> None:
    sessions.views["t", "s"] = view()
    views = await watch.follow(("t", "s"))
    await anext(views)
    second = asyncio.ensure_future(anext(views))
    await eventually(lambda: len(sessions.asked) > 5)
    assert not second.done()
    sessions.views["t", "s"] = view(moves=1)
    assert (await second).moves == 1
    await views.aclose()


async def test_all_listeners_cost_one_look(sessions: Sessions, watch: Watch) -> None:
    keys = [("t", f"s{n}") for n in range(50)]
    sessions.views = {key: view() for key in keys}
    followed = [await watch.follow(key) for key in (*keys, *keys)]
    for views in followed:
        await anext(views)
    sessions.asked.clear()
    await eventually(lambda: sessions.asked)
    assert sorted(sessions.asked[0]) == sorted(keys)
    for views in followed:
        await views.aclose()
    assert watch.listeners == 0


async def test_very_many_are_looked_at_some_at_a_time(sessions: Sessions, watch: Watch) -> None:
    keys = [("t", f"s{n}") for n in range(2 * AT_ONCE + 1)]
    sessions.views = {key: view(position=1) for key in keys}
    followed = [await watch.follow(key) for key in keys]
    for views in followed:
        await anext(views)
    sessions.views = {key: view(position=0) for key in keys}
    sessions.asked.clear()
    for views in followed:
        assert (await anext(views)).session.queue.position == 0
        await views.aclose()
    assert max(map(len, sessions.asked)) == AT_ONCE


async def test_nobody_listening_means_nobody_looking(sessions: Sessions, watch: Watch) -> None:
    sessions.views["t", "s"] = view()
    views = await watch.follow(("t", "s"))
    await anext(views)
    await eventually(lambda: len(sessions.asked) > 2)
    await views.aclose()
    await eventually(lambda: watch._task.done())
    before = len(sessions.asked)
    again = await watch.follow(("t", "s"))
    await anext(again)
    await eventually(lambda: len(sessions.asked) > before + 3)
    await again.aclose()


async def test_a_registry_that_is_away_for_a_while_loses_nothing(sessions: Sessions, watch: Watch) -> None:
    sessions.views["t", "s"] = view()
    views = await watch.follow(("t", "s"))
    await anext(views)
    sessions.away = True
    later = asyncio.ensure_future(anext(views))
    await eventually(lambda: len(sessions.asked) > 3)
    sessions.views["t", "s"] = view(SessionState.WAITING)
    sessions.away = False
    assert (await later).session.state is SessionState.WAITING
    await views.aclose()


async def test_an_unknown_session_is_told_at_once_and_one_that_vanishes_ends(sessions: Sessions, watch: Watch) -> None:
    with pytest.raises(NotFound):
        await watch.follow(("t", "s"))
    sessions.views["t", "s"] = view()
    views = await watch.follow(("t", "s"))
    await anext(views)
    sessions.views.clear()
    assert [now async for now in views] == []
