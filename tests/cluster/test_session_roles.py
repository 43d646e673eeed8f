"""Several directors of one session, and viewers among them, with real peers."""

from __future__ import annotations

import asyncio

import pytest

from cluster import metrics
from cluster.errors import Conflict, ConnectionTaken
from cluster.settings import PoolSettings
from tests.support.rtc_client import WAIT_S, RtcClient
from tests.support.waiting import eventually, settle
from tests.support.webcam import Webcam
from wire.frames import Command, RequestClip, RequestRecording, RequestSchema
from wire.http import FLAT_CONNECTION_ID, IceCandidate, IceCandidates, Role

pytestmark = pytest.mark.media

TENANT = "key_tenant"
BURST = 30
ECHO = PoolSettings(model="echo", min_warm=1)


def heard(client: RtcClient) -> list[float]:
    """The intensities that the client was told of, in order."""
    return [data["intensity"] for kind, data in client.messages if kind == "effect_changed"]


async def viewer_and_director(launch, **limits: float):
    scene = launch(ECHO, **limits)
    session_id = await scene.opened()
    director = await scene.join(session_id)
    viewer = await scene.join(session_id, role=Role.VIEWER)
    for client in (director, viewer):
        await client.message("effect_changed")
    return scene, session_id, director, viewer


# --- directors ------------------------------------------------------------------------------------------------------


async def test_directors_share_control_in_arrival_order(launch):
    scene, session_id, one, viewer = await viewer_and_director(launch)
    two = await scene.join(session_id)
    await two.message("effect_changed")
    session = scene.local.session(session_id)
    arrived: list[float] = []
    listen = session.message

    def message(connection, command):
        if isinstance(command, Command) and connection.role is Role.DIRECTOR:
            arrived.append(command.data["intensity"])
        listen(connection, command)

    session.message = message
    sent = {one: [n / 1000 for n in range(BURST)], two: [n / 1000 for n in range(100, 100 + BURST)]}
    for turn in range(BURST):
        one.command("set_intensity", {"intensity": sent[one][turn]})
        viewer.command("set_intensity", {"intensity": 1.0})
        two.command("set_intensity", {"intensity": sent[two][turn]})
        if turn % 5 == 4:
            await eventually(lambda sent=turn: len(arrived) == 2 * (sent + 1))
    for client in (one, two, viewer):
        await eventually(lambda client=client: len(heard(client)) == 2 * BURST)
        assert heard(client) == arrived, "applied as they arrive, told to all in that order"
    for client in (one, two):
        assert [value for value in arrived if value in sent[client]] == sent[client], "and in each director's own"
    await eventually(lambda: len(viewer.messages) == 3 * BURST)
    assert session._director.snapshot()["intensity"] == arrived[-1]


# --- viewers --------------------------------------------------------------------------------------------------------


async def test_a_viewers_command_changes_nothing_and_is_told_to_it_alone(launch):
    scene, session_id, director, viewer = await viewer_and_director(launch)
    session = scene.local.session(session_id)
    before, counted = session._director.snapshot(), metrics.FORBIDDEN.labels("echo")._value.get()
    viewer.command("set_effect", {"effect": "sepia"})
    viewer.command("set_image", {"image": {"upload_id": "6f0b8a52-0000-4000-8000-000000000001"}})
    viewer.command("no_such_command")
    for name in ("set_effect", "set_image", "no_such_command"):
        assert await viewer.message("command_error") == {"command": name, "reason": "viewers send no commands"}
    assert session._director.snapshot() == before
    assert not session._dialogue._inboxes
    assert metrics.FORBIDDEN.labels("echo")._value.get() == counted + 3
    modern = await scene.join(session_id, role=Role.VIEWER, protocol="v1")
    kind, refused = await modern.ask(Command("set_effect", {"effect": "sepia"}))
    assert (kind, refused["error"]["code"]) == ("error", "forbidden_role")
    director.command("set_effect", {"effect": "blur"})
    for client in (director, viewer):
        assert (await client.message("effect_changed"))["effect"] == "blur"
        assert client.messages == []


async def test_a_viewer_watches_and_asks_what_there_is(launch):
    _, _, director, viewer = await viewer_and_director(launch)
    assert (await viewer.ask(RequestSchema()))[0] == "modelSchema"
    assert await viewer.ask(RequestClip(5.0)) == ("clipFailed", {"reason": "recorder disabled"})
    assert await viewer.ask(RequestRecording()) == ("clipFailed", {"reason": "viewers have clips, not the recording"})
    picture = viewer.received["main_video"]
    await picture.wait(lambda received: len(received.pictures) >= 3)
    viewer.ping()
    viewer.notify("pause_track", "main_video")
    viewer.notify("resume_track", "main_video")
    seen = len(picture.pictures)
    await picture.wait(lambda received: len(received.pictures) >= seen + 3)
    await director.received["main_video"].wait(lambda received: len(received.pictures) >= 3)


async def test_a_viewer_publishes_no_track(launch):
    scene, session_id, director, _ = await viewer_and_director(launch)
    session = scene.local.session(session_id)
    viewer = await scene.join(session_id, role=Role.VIEWER, inputs={"webcam": Webcam()})
    refused = await viewer.request("publish_track", "webcam")
    assert refused["error"] == {"code": "forbidden_role", "message": "viewers publish no tracks"}
    flat = {"channels": ("data",), "outputs": {}, "inputs": {"webcam": Webcam()}}
    await (await scene.join(session_id, FLAT_CONNECTION_ID, role=Role.VIEWER, **flat)).message("effect_changed")
    assert len(session._publishers) == 0
    again = await scene.join(session_id, director.connection_id, inputs={"webcam": Webcam()})
    assert (await again.request("publish_track", "webcam"))["data"] == {}


# --- whose connection it is -----------------------------------------------------------------------------------------


async def test_a_viewer_cannot_have_a_directors_connection(launch):
    scene, session_id, director, _ = await viewer_and_director(launch)
    session, taken = scene.local.session(session_id), director.connection_id
    stranger = RtcClient()
    scene.viewers.append(stranger)
    offer = await stranger.offer()
    calls = (
        scene.client.offer(TENANT, session_id, taken, offer, Role.VIEWER),
        scene.client.answer(TENANT, session_id, taken, WAIT_S, Role.VIEWER),
        scene.client.add_candidates(
            TENANT, session_id, taken, IceCandidates(candidates=[IceCandidate(candidate="")]), Role.VIEWER
        ),
    )
    for call in calls:
        with pytest.raises(ConnectionTaken):
            await call
    director.command("set_effect", {"effect": "sepia"})
    assert (await director.message("effect_changed"))["effect"] == "sepia", "it is still there, and a director"
    await director.close()
    await eventually(lambda: taken not in session.connections.ids)
    again = await scene.join(session_id, taken, role=Role.VIEWER)
    again.command("set_effect", {"effect": "blur"})
    await again.message("command_error")


async def test_a_held_poll_does_not_give_a_viewer_a_directors_answer(launch):
    scene = launch(ECHO)
    session_id = await scene.opened()
    connection_id = await scene.client.create_connection(TENANT, session_id)
    poll = asyncio.create_task(scene.client.answer(TENANT, session_id, connection_id, WAIT_S, Role.VIEWER))
    await settle()
    assert not poll.done()
    await scene.join(session_id, connection_id)
    with pytest.raises(ConnectionTaken):
        await poll


async def test_the_newest_offers_role_counts(launch):
    """A director may take a viewer's id, and an id that is only reserved is for whoever makes the first offer."""
    scene, session_id, _, viewer = await viewer_and_director(launch)
    again = await scene.join(session_id, viewer.connection_id)
    await again.message("effect_changed")
    again.command("set_effect", {"effect": "sepia"})
    assert (await again.message("effect_changed"))["effect"] == "sepia"
    assert len(scene.local.session(session_id).connections.ids) == 2
    reserved = await scene.client.create_connection(TENANT, session_id)
    watching = await scene.join(session_id, reserved, role=Role.VIEWER)
    watching.command("set_effect", {"effect": "blur"})
    await watching.message("command_error")


async def test_viewers_leave_room_for_directors(launch):
    scene, session_id, _, viewer = await viewer_and_director(launch, max_connections=3)
    with pytest.raises(Conflict, match="1 viewers"):
        await scene.client.create_connection(TENANT, session_id, Role.VIEWER)
    await scene.join(session_id, viewer.connection_id, role=Role.VIEWER)
    await scene.client.create_connection(TENANT, session_id)
    with pytest.raises(Conflict, match="3 connections"):
        await scene.client.create_connection(TENANT, session_id)
