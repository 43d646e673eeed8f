"""A session from its first connection to its end, through the gateway's door, with real peers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from itertools import groupby

import numpy as np
import pytest

from cluster.client import Allowance
from cluster.connections import CONNECTION_IDS
from cluster.errors import Conflict, NotFound, UnknownConnection
from cluster.session import Session
from cluster.settings import PoolSettings
from longlive import stamp
from tests.support.grants import granted
from tests.support.local import LocalCluster
from tests.support.rtc_client import WAIT_S, Received, RtcClient
from tests.support.waiting import eventually, settle
from tests.support.webcam import Webcam
from wire.http import FLAT_CONNECTION_ID, IceCandidate, IceCandidates, SdpOffer, SessionState

pytestmark = pytest.mark.media

TENANT = "key_tenant"
LONGLIVE = PoolSettings(model="longlive-v2", min_warm=1)
ECHO_TRACKS = {"main_video": "video", "main_audio": "audio"}


def enough(count: int) -> Callable[[Received], bool]:
    return lambda received: len(received.pictures) >= count


def numbers(received: Received) -> list[int | None]:
    """Frame numbers in order; a picture that stands while playout has run dry counts once."""
    return [number for number, _ in groupby(stamp.read(picture) for picture in received.pictures)]


async def shown(viewer: RtcClient, count: int) -> list[int | None]:
    """The first `count` frame numbers of the pictures that the viewer gets."""
    await viewer.received["main_video"].wait(lambda received: len(numbers(received)) >= count)
    return numbers(viewer.received["main_video"])[:count]


def kinds(viewer: RtcClient) -> list[str]:
    return [kind for kind, _ in viewer.messages]


async def in_state(scene, session_id: str, state: SessionState) -> None:
    async def reached() -> bool:
        return await scene.state(session_id) is state

    await eventually(reached)


def later(local: LocalCluster, **limits: float) -> None:
    """Limits of the sessions that workers open from now on."""
    for handle in local.backend.workers.values():
        settings = handle.worker._settings
        changed = settings.limits.model_copy(update=limits)
        handle.worker._settings = settings.model_copy(update={"limits": changed})


# --- a story --------------------------------------------------------------------------------------------------------


async def test_a_story_from_set_shot_to_a_planned_cut(launch):
    scene = launch(LONGLIVE)
    viewer = await scene.join(await scene.opened("longlive-v2"))
    greeting = await viewer.message("state")
    assert (greeting["running"], greeting["session_chunk"], greeting["seed"]) == (False, 0, 42)
    viewer.command("set_shot", {"prompt": "dunes"})
    viewer.command("schedule_scene_cut", {"prompt": "a storm", "at_session_chunk": 1})
    viewer.command("start")
    for chunk in (1, 2):
        complete = await viewer.message("chunk_complete")
        assert complete == {
            "chunk_index": 0,
            "session_chunk": chunk,
            "frames_emitted": 29 * chunk,
            "active_prompt": ["dunes", "a storm"][chunk - 1],
        }
    viewer.command("pause")
    await viewer.message("generation_paused")
    assert [kind for kind in kinds(viewer) if kind not in ("state", "chunk_complete")] == [
        "shot_set",
        "scene_cut_scheduled",
        "generation_started",
        "scene_cut",
    ]
    assert (await viewer.message("scene_cut")) == {"prompt": "a storm", "at_session_chunk": 1}
    assert await shown(viewer, 58) == list(range(58)), "every picture, in order"


async def test_a_reset_drops_what_is_queued_and_the_next_run_begins_at_zero(launch, monkeypatch):
    scene = launch(LONGLIVE)
    session_id = await scene.opened("longlive-v2")
    viewer = await scene.join(session_id)
    output = scene.local.session(session_id)._outbound.video["main_video"]
    with monkeypatch.context() as standstill:
        standstill.setattr(output._pacer, "_clock", lambda: 0.0)
        viewer.command("set_shot", {"prompt": "dunes"})
        viewer.command("start")
        await viewer.message("chunk_complete")
        assert output.queued_s == pytest.approx(28 / 24)
        viewer.command("reset")
        await viewer.message("generation_reset")
        assert output.queued_s == 0
        assert output.stats.released == 1
    viewer.messages.clear()
    viewer.command("set_shot", {"prompt": "a storm"})
    viewer.command("start")
    complete = await viewer.message("chunk_complete")
    assert (complete["session_chunk"], complete["frames_emitted"]) == (1, 29)
    assert kinds(viewer).count("generation_started") == 1
    seen = await shown(viewer, 11)
    first = seen[1]
    assert first % 29 == 0, "the new run begins with a chunk, after all that was made of the abandoned one"
    assert seen == [0, *range(first, first + 10)], "of that, only what was shown before the reset"


async def test_two_sessions_share_a_worker_and_nothing_else(launch, unmeasured):
    scene = launch(PoolSettings(model="longlive-v2", min_warm=1, sessions_per_worker=2))
    first, second = [await scene.opened("longlive-v2") for _ in range(2)]
    assert scene.local.worker_of(first) is scene.local.worker_of(second)
    for prompt, viewer in (("dunes", await scene.join(first)), ("a storm", await scene.join(second))):
        viewer.command("set_shot", {"prompt": prompt})
        viewer.command("start")
    for prompt, viewer in zip(("dunes", "a storm"), scene.viewers, strict=True):
        for chunk in (1, 2):
            complete = await viewer.message("chunk_complete")
            assert (complete["session_chunk"], complete["active_prompt"]) == (chunk, prompt)
        assert await shown(viewer, 30) == list(range(30))
    await scene.client.delete_session(TENANT, first, None)
    complete = await scene.viewers[1].message("chunk_complete")
    assert complete["active_prompt"] == "a storm", "the end of one is nothing to the other"


async def test_an_inactive_session_goes_on_at_the_chunk_where_it_was(launch):
    scene = launch(LONGLIVE, reconnect_grace_s=0.05)
    session_id = await scene.opened("longlive-v2")
    viewer = await scene.join(session_id)
    viewer.command("set_seed", {"seed": 7})
    viewer.command("set_shot", {"prompt": "dunes"})
    viewer.command("schedule_shot", {"prompt": "a storm", "at_session_chunk": 40})
    viewer.command("start")
    await viewer.message("chunk_complete")
    viewer.command("pause")
    done = (await viewer.message("generation_paused"))["chunk_index"] + 1
    await viewer.close()
    await in_state(scene, session_id, SessionState.INACTIVE)
    later(scene.local, reconnect_grace_s=60.0)
    assert (await scene.client.restart_session(TENANT, session_id)).session_id == session_id
    await scene.held(session_id)
    again = await scene.join(session_id, viewer.connection_id)
    state = await again.message("state")
    assert (state["session_chunk"], state["paused"], state["seed"]) == (done, True, 7)
    assert (state["current_prompt"], state["scheduled_shots"]) == ("dunes", [40])
    again.command("resume")
    complete = await again.message("chunk_complete")
    assert (complete["session_chunk"], complete["chunk_index"]) == (done + 1, done)
    first = 29 * done
    assert await shown(again, 5) == list(range(first, first + 5)), "its pictures are numbered on"


# --- connections ----------------------------------------------------------------------------------------------------


async def test_two_connections_share_broadcasts_and_pictures_but_not_replies(launch):
    scene = launch()
    session_id = await scene.opened()
    one, two = await scene.join(session_id), await scene.join(session_id)
    assert one.connection_id != two.connection_id
    assert {one.connection_id, two.connection_id} <= set(CONNECTION_IDS)
    for viewer in (one, two):
        assert await viewer.message("effect_changed") == {"effect": "none", "intensity": 1.0}
    one.send("data", json.dumps({"scope": "runtime", "data": {"type": "requestSchema", "data": {}}}))
    one.command("set_effect", {"effect": "sepia", "loud": True})
    one.command("set_effect", {"effect": "sepia"})
    for viewer in (one, two):
        assert (await viewer.message("effect_changed"))["effect"] == "sepia"
        await viewer.received["main_video"].wait(enough(5))
    assert len(kinds(one)) == 2, "the schema, and the refusal"
    assert "command_error" in kinds(one)
    assert kinds(two) == []


async def test_a_command_acts_on_the_picture(launch):
    scene = launch()
    viewer = await scene.join(await scene.opened())
    viewer.command("set_effect", {"effect": "grayscale"})

    def grey(received: Received) -> bool:
        if not received.pictures:
            return False
        picture = received.pictures[-1].astype(int)
        return np.abs(picture[..., 0] - picture[..., 2]).mean() < 6

    await viewer.received["main_video"].wait(enough(1))
    await viewer.received["main_video"].wait(grey)


async def test_only_one_connection_publishes_a_track(launch):
    scene = launch()
    session_id = await scene.opened()
    first = await scene.join(session_id, inputs={"webcam": Webcam(200)})
    second = await scene.join(session_id, inputs={"webcam": Webcam(30)})
    assert (await first.request("publish_track", "webcam"))["data"] == {}
    refused = await second.request("publish_track", "webcam")
    assert "error" in refused
    assert (await first.request("publish_track", "webcam"))["data"] == {}, "again is no error"
    for impossible in ("main_video", "nothing"):
        assert "error" in await first.request("publish_track", impossible)

    def shade(of: int) -> Callable[[Received], bool]:
        return lambda received: bool(received.pictures) and abs(received.pictures[-1].mean() - of) < 25

    await second.received["main_video"].wait(shade(200))
    session = scene.local.session(session_id)
    await first.close()
    await eventually(lambda: first.connection_id not in session.connections.ids)
    assert (await second.request("publish_track", "webcam"))["data"] == {}
    await second.received["main_video"].wait(shade(30))
    second.notify("unpublish_track", "webcam")
    await eventually(lambda: len(session._publishers) == 0)


async def test_connection_ids_that_cannot_be(launch):
    scene = launch(PoolSettings(model="echo", min_warm=1), max_connections=2, connect_grace_s=60.0)
    session_id = await scene.opened()
    offer = SdpOffer(sdp_offer="v=0")
    for impossible in (0, -1, 1000, 10_000):
        with pytest.raises(UnknownConnection):
            await scene.client.offer(TENANT, session_id, impossible, offer)
    with pytest.raises(UnknownConnection):
        await scene.client.answer(TENANT, session_id, 1234, 0.0)
    made = {await scene.client.create_connection(TENANT, session_id) for _ in range(2)}
    assert len(made) == 2
    with pytest.raises(Conflict):
        await scene.client.create_connection(TENANT, session_id)
    with pytest.raises(NotFound):
        await scene.client.create_connection("key_other", session_id)


async def test_the_flat_path_needs_no_connection_and_shows_at_once(launch):
    scene = launch()
    session_id = await scene.opened()
    viewer = await scene.join(session_id, FLAT_CONNECTION_ID, channels=("data",), outputs={})
    assert await viewer.message("effect_changed")
    assert list(scene.local.session(session_id).connections.ids) == [FLAT_CONNECTION_ID]


# --- states and their ends ------------------------------------------------------------------------------------------


async def test_waiting_active_suspended_and_active_again(launch):
    scene = launch()
    session_id = await scene.opened()
    session = scene.local.session(session_id)
    viewer = await scene.join(session_id)
    await in_state(scene, session_id, SessionState.ACTIVE)
    assert session.connections
    await viewer.received["main_video"].wait(enough(1))
    await viewer.close()
    await in_state(scene, session_id, SessionState.SUSPENDED)
    assert not session.connections
    assert not session._scheduler._watched.is_set(), "nothing is generated for nobody"
    again = await scene.join(session_id, viewer.connection_id)
    await in_state(scene, session_id, SessionState.ACTIVE)
    await again.received["main_video"].wait(enough(1))
    assert scene.local.session(session_id) is session


async def test_an_offer_replaces_the_peer_without_a_suspension(launch):
    scene = launch(PoolSettings(model="echo", min_warm=1), reconnect_grace_s=0.01)
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    again = await scene.join(session_id, viewer.connection_id)
    await again.received["main_video"].wait(enough(3))
    assert list(scene.local.session(session_id).connections.ids) == [viewer.connection_id]
    await viewer.close()
    await settle()
    assert scene.local.session(session_id).connections, "the old peer's end is not the connection's"


async def test_nobody_comes(launch):
    scene = launch(PoolSettings(model="echo", min_warm=1), connect_grace_s=1.0)
    session_id = await scene.opened()
    await in_state(scene, session_id, SessionState.CLOSED)
    record = await scene.local.store.get(TENANT, session_id)
    assert record.reason == "no client"
    with pytest.raises(NotFound):
        await scene.client.create_connection(TENANT, session_id)
    with pytest.raises(Conflict):
        await scene.client.restart_session(TENANT, session_id)
    assert await scene.opened(), "the slot is free again"


async def test_nobody_comes_back(launch):
    scene = launch(PoolSettings(model="echo", min_warm=1), reconnect_grace_s=0.05)
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    viewer.command("set_effect", {"effect": "sepia"})
    await viewer.message("effect_changed")
    assert (await viewer.message("effect_changed"))["effect"] == "sepia"
    await viewer.close()
    await in_state(scene, session_id, SessionState.INACTIVE)
    await scene.client.restart_session(TENANT, session_id)
    await in_state(scene, session_id, SessionState.INACTIVE)
    with pytest.raises(NotFound):
        await scene.client.offer(TENANT, session_id, viewer.connection_id, SdpOffer(sdp_offer="v=0"))
    later(scene.local, reconnect_grace_s=60.0)
    await scene.client.restart_session(TENANT, session_id)
    await scene.held(session_id)
    again = await scene.join(session_id, viewer.connection_id)
    assert (await again.message("effect_changed"))["effect"] == "sepia"


async def test_the_longest_duration_ends_it(launch):
    scene = launch()
    session_id = await scene.opened(allowances=[Allowance(max_duration_s=3)])
    viewer = await scene.join(session_id)
    assert (await viewer.message("sessionEnded"))["reason"] == "maximum duration reached"
    await in_state(scene, session_id, SessionState.CLOSED)
    await eventually(viewer.is_closed)


async def test_deleted_while_someone_watches(launch):
    scene = launch()
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    await viewer.received["main_video"].wait(enough(1))
    await scene.client.delete_session(TENANT, session_id, "had enough")
    assert (await viewer.message("sessionEnded"))["reason"] == "had enough"
    await eventually(viewer.is_closed)
    assert await scene.state(session_id) is SessionState.CLOSED
    await scene.client.delete_session(TENANT, session_id, None)
    with pytest.raises(NotFound):
        await scene.client.delete_session("key_other", session_id, None)
    with pytest.raises(LookupError):
        scene.local.worker_of(session_id)
    assert (await scene.create()).state is SessionState.WAITING, "the slot is free at once"


async def test_a_failing_engine_ends_its_session_and_no_other(launch):
    scene = launch()
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    await viewer.received["main_video"].wait(enough(1))
    worker = scene.local.worker_of(session_id)

    def fail(inputs: object) -> None:
        raise ArithmeticError("fault injected")

    scene.local.session(session_id)._seat.stream.generate = fail
    assert (await viewer.message("sessionEnded"))["reason"] == "generation failed"
    await in_state(scene, session_id, SessionState.CLOSED)
    assert (await scene.local.store.get(TENANT, session_id)).reason == "generation failed"
    another = await scene.opened()
    assert scene.local.worker_of(another) is worker
    viewer = await scene.join(another)
    await viewer.received["main_video"].wait(enough(3))


async def test_a_snapshot_that_cannot_be_read_ends_the_session(launch):
    scene = launch()
    await scene.local.idle("echo")
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    viewer.command("set_effect", {"effect": "sepia"})
    await eventually(lambda: scene.local.store.load_snapshot(TENANT, session_id))
    worker = scene.local.worker_of(session_id)
    await worker._sessions[session_id].end("no client", SessionState.INACTIVE)
    await scene.local.redis.hset(scene.local.store._snapshot_key(TENANT, session_id), "data", b'{"model":"echo"}')
    await scene.client.restart_session(TENANT, session_id)
    await in_state(scene, session_id, SessionState.CLOSED)
    assert (await scene.local.store.get(TENANT, session_id)).reason == "snapshot unusable"
    assert worker._sessions == {}


# --- nothing is left ------------------------------------------------------------------------------------------------


def tasks() -> Counter[str]:
    """The tasks of this process by what they run, but for those that the allocator and its workers come and go with."""
    coming_and_going = {"Event.wait", "Worker.watch", "Worker.ping"}
    running = Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())
    return Counter({name: count for name, count in running.items() if name not in coming_and_going})


class Belongings:
    """What a session holds of the process and of Redis."""

    def __init__(self, scene, session_id: str) -> None:
        self._scene, self._session = scene, scene.local.session(session_id)
        self._tasks = tasks()

    async def keys(self) -> set[bytes]:
        found = self._scene.local.redis.scan_iter(f"{self._scene.local.settings.cluster}:*")
        return {key async for key in found if b":usage" not in key}  # written every few seconds

    async def nothing_new(self) -> None:
        """Only connections and tasks can take a moment."""
        await eventually(lambda: not self._session.connections.ids)
        await eventually(lambda: tasks() <= self._tasks)
        assert len(self._session._publishers) == 0
        assert not self._session.connections
        assert self._session.connections._unused == {}


async def test_a_client_that_vanishes_before_its_handshake_leaves_nothing(launch):
    scene = launch()
    session_id = await scene.opened()
    worker = scene.local.worker_of(session_id)
    belongings = Belongings(scene, session_id)
    keys = await belongings.keys()
    viewer = RtcClient(outputs=ECHO_TRACKS, inputs={"webcam": Webcam(0)})
    connection_id = await scene.client.create_connection(TENANT, session_id)
    await scene.client.offer(TENANT, session_id, connection_id, await viewer.offer())
    assert await scene.client.answer(TENANT, session_id, connection_id, WAIT_S)
    await viewer.close()
    watchdog = scene.local.session(session_id).connections.get(connection_id)._watchdog
    watchdog._last -= scene.local.settings.media.ping_timeout_s
    watchdog.check()
    await belongings.nothing_new()
    assert await belongings.keys() == keys
    assert len(worker._sessions) == 1, "the session itself waits on"
    assert await scene.state(session_id) is SessionState.WAITING
    with pytest.raises(UnknownConnection):
        await scene.client.answer(TENANT, session_id, connection_id, 0.0)
    viewer = await scene.join(session_id, connection_id)
    await viewer.message("effect_changed")


async def test_a_connection_that_nobody_offers_on_is_forgotten(launch):
    scene = launch(PoolSettings(model="echo", min_warm=1), connect_grace_s=3.0)  # the viewer itself has to make it, too
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    session = scene.local.session(session_id)
    unused = await scene.client.create_connection(TENANT, session_id)
    trickled = IceCandidates(candidates=[IceCandidate(candidate="")])
    await scene.client.add_candidates(TENANT, session_id, 5000, trickled)
    assert {unused, 5000} <= set(session.connections.ids)
    await eventually(lambda: set(session.connections.ids) == {viewer.connection_id})
    assert session.connections


async def test_the_end_of_a_session_leaves_nothing(launch):
    scene = launch()
    await scene.local.idle("echo")
    before = tasks()
    session_id = await scene.opened()
    viewer = await scene.join(session_id, outputs=ECHO_TRACKS, inputs={"webcam": Webcam(90)})
    await viewer.request("publish_track", "webcam")
    await viewer.received["main_video"].wait(enough(3))
    await scene.client.create_connection(TENANT, session_id)
    await scene.client.delete_session(TENANT, session_id, None)
    await viewer.close()
    await eventually(lambda: tasks() <= before)
    (worker,) = scene.local.backend.workers.values()
    assert worker.worker.status().sessions == ()
    keys = {key.decode() async for key in scene.local.redis.scan_iter(f"{scene.local.settings.cluster}:*")}
    kinds = {key.split(":")[2] for key in keys if ":usage" not in key}
    assert kinds == {"session", "created"}, "its record, and that it counts as created"
    assert all([await scene.local.redis.ttl(key) > 0 for key in keys])


async def test_a_grant_that_is_old_already_is_not_taken_up(launch):
    scene = launch()
    await scene.local.idle("echo")
    before = tasks()
    (handle,) = scene.local.backend.workers.values()
    session_id = await scene.opened()
    await scene.client.delete_session(TENANT, session_id, None)
    late = granted(session_id, TENANT)
    await handle.reserve(late)
    assert handle.worker.status().sessions == ()
    await eventually(lambda: tasks() <= before)
    assert await scene.state(session_id) is SessionState.CLOSED


async def test_closed_while_it_opens_it_starts_nothing(launch, monkeypatch):
    scene = launch()
    await scene.local.idle("echo")
    before = tasks()
    (handle,) = scene.local.backend.workers.values()
    opening, go_on = asyncio.Event(), asyncio.Event()
    load_snapshot = handle.worker._store.load_snapshot

    async def slowly(*args: str) -> tuple[bytes, bytes] | None:
        opening.set()
        await go_on.wait()
        return await load_snapshot(*args)

    monkeypatch.setattr(handle.worker._store, "load_snapshot", slowly)
    creating = asyncio.create_task(scene.create())
    await opening.wait()
    (session,) = handle.worker._sessions.values()
    assert isinstance(session, Session)
    await handle.close(session.grant.session_id, "changed my mind")
    go_on.set()
    view = await creating
    assert view.state is SessionState.CLOSED
    assert handle.worker.status().sessions == ()
    await eventually(lambda: tasks() <= before)
    monkeypatch.undo()
    assert await scene.opened(), "the slot is free"
