"""Moderation in sessions: nothing reaches a model unseen, whichever way it comes, and nothing overtakes what waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cluster.settings import PoolSettings, Settings
from tests.support.moderator import ModerationServer
from tests.support.pictures import noise
from tests.support.rtc_client import RtcClient
from tests.support.waiting import eventually
from wire.http import CreateSession, ModelRef, SaveSnapshot, SessionState
from wire.uploads import CreateUpload

pytestmark = pytest.mark.media

TENANT = "key_tenant"
LONGLIVE = PoolSettings(model="longlive-v2", min_warm=1)
SHARED = PoolSettings(model="longlive-v2", min_warm=1, sessions_per_worker=4)
ECHO = PoolSettings(model="echo", min_warm=1, max_workers=2)


@pytest.fixture
def moderator():
    with ModerationServer() as running:
        yield running


@pytest.fixture
def settings(settings: Settings, moderator: ModerationServer) -> Settings:
    return settings.model_copy(update={"moderation": moderator.settings(cache_ttl_s=0, max_warnings=1, timeout_s=10)})


def deny(moderator: ModerationServer, word: str, action: str = "warn") -> None:
    """From now on, texts with this word; `image` is every picture."""

    def verdict(asked: dict[str, Any]) -> dict[str, Any]:
        bad = word in asked["text"] if asked["kind"] == "text" else word == "image"
        return {"action": action, "reason": "no", "categories": ["x"]} if bad else {"action": "allow"}

    moderator.verdict = verdict


def notice(action: str, command: str, message: str, kind: str = "text") -> dict[str, Any]:
    return {"action": action, "input_kind": kind, "command": command, "categories": ("x",), "message": message}


def said(viewer: RtcClient) -> list[Any]:
    """Effects in force, their intensity if it is not whole, sizes of pictures and refusals, in order."""
    keys = {"effect_changed": "effect", "image_accepted": "width", "command_error": "reason"}
    return [data[keys[kind]] for kind, data in viewer.messages if kind in keys]


async def uploaded(scene: Any, session_id: str, data: bytes) -> dict[str, str]:
    body = CreateUpload(name="a.png", size=len(data), mime_type="image/png")
    upload_id, token = await scene.client.create_upload(TENANT, session_id, body)

    async def bytes_of() -> Any:
        yield data

    await scene.client.receive_upload(token, bytes_of(), None, {})
    return {"upload_id": upload_id, "name": "a.png", "mime_type": "image/png", "size": len(data)}


async def holds(scene: Any, session_id: str, what: bytes) -> bool:
    """Whether the session's snapshot has come to hold this."""
    return what in b"".join(await scene.local.store.load_snapshot(TENANT, session_id) or ())


async def ended(scene: Any, session_id: str, state: SessionState, reason: str) -> None:
    async def over() -> bool:
        record = await scene.local.store.get(TENANT, session_id)
        return (record.state, record.reason) == (state, reason)

    await eventually(over)


async def test_a_warning_refuses_the_command_and_tells_the_asker_alone(launch, moderator):
    deny(moderator, "bad")
    scene = launch(LONGLIVE)
    session_id = await scene.opened("longlive-v2")
    viewer, other = await scene.join(session_id), await scene.join(session_id)
    await other.message("state")
    viewer.command("schedule_shot", {"prompt": "a bad dune", "at_session_chunk": 3})
    viewer.command("set_shot", {"prompt": "a good dune"})
    told = "no (warning 1, 1 are allowed)"
    assert await viewer.message("moderation") == notice("warn", "schedule_shot", told)
    assert await viewer.message("command_error") == {"command": "schedule_shot", "reason": told}
    await other.message("shot_set")
    assert (await other.message("state"))["scheduled_shots"] == []
    assert other.messages == []
    assert sorted(moderator.texts) == ["a bad dune", "a good dune"]
    assert b"bad" not in scene.local.session(session_id).events(), "what was refused is not recorded"


async def test_the_warning_too_many_ends_the_session_even_on_another_worker(launch, moderator):
    deny(moderator, "blur")
    scene = launch(ECHO)
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    viewer.command("set_image", {"image": await uploaded(scene, session_id, noise())})
    viewer.command("set_effect", {"effect": "blur"})
    await viewer.message("moderation")

    async def written() -> bool:
        record = await scene.local.store.get(TENANT, session_id)
        return record.warnings == 1 and await holds(scene, session_id, b'"image":"')

    await eventually(written)
    lost = scene.local.worker_of(session_id).name
    moderator.asked.clear()
    scene.local.backend.bury(lost)

    async def elsewhere() -> bool:
        return (await scene.local.store.get(TENANT, session_id)).worker not in ("", lost)

    await eventually(elsewhere)
    again = await scene.join(session_id)
    await eventually(lambda: moderator.asked)
    assert (moderator.asked[0]["kind"], moderator.asked[0]["command"]) == ("image", None), "looked at again"
    again.command("set_effect", {"effect": "blur"})
    assert (await again.message("moderation"))["action"] == "terminate"
    assert (await again.message("command_error"))["command"] == "set_effect"
    assert (await again.message("sessionEnded"))["reason"] == "moderation"
    await ended(scene, session_id, SessionState.CLOSED, "moderation")


async def test_a_terminating_verdict_on_a_picture_ends_the_session_for_all(launch, moderator):
    deny(moderator, "image", "terminate")
    scene = launch(ECHO)
    session_id = await scene.opened()
    viewer, other = await scene.join(session_id), await scene.join(session_id)
    await viewer.message("effect_changed")
    picture = noise()
    viewer.command("set_image", {"image": await uploaded(scene, session_id, picture)})
    viewer.command("set_effect", {"effect": "sepia"})
    assert await viewer.message("moderation") == notice("terminate", "set_image", "no", "image")
    for each in (viewer, other):
        assert (await each.message("sessionEnded"))["reason"] == "moderation"
    assert [kind for kind, _ in viewer.messages if kind != "command_error"] == [], "nothing came after it"
    await ended(scene, session_id, SessionState.CLOSED, "moderation")
    assert {"kind", "image"} <= set(next(asked for asked in moderator.asked if asked["kind"] == "image"))


async def test_commands_keep_their_order_whatever_their_verdicts_wait_for(launch, moderator):
    deny(moderator, "blur")
    scene = launch(ECHO)
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    await viewer.message("effect_changed")
    reference = await uploaded(scene, session_id, noise(size=(20, 10)))
    moderator.gate.clear()
    viewer.command("set_effect", {"effect": "sepia"})
    viewer.command("set_image", uploads={"image": reference})
    viewer.command("set_effect", {"effect": "blur"})
    viewer.command("set_intensity", {"intensity": 0.5})
    viewer.command("teleport")
    viewer.command("set_effect", {"effect": "edges"})
    await eventually(lambda: len(moderator.asked) == 3), "verdicts on texts are not waited for one by one"
    assert said(viewer) == []
    moderator.gate.set()
    await eventually(lambda: len(said(viewer)) == 6)
    assert said(viewer) == ["sepia", 20, "no (warning 1, 1 are allowed)", "sepia", "unknown command", "edges"]


async def test_a_flood_of_moderated_commands_is_refused_and_bounded(launch, moderator):
    scene = launch(ECHO, max_waiting_commands=5)
    viewer = await scene.join(await scene.opened())
    await viewer.message("effect_changed")
    moderator.gate.clear()
    viewer.command("set_effect", {"effect": "invert"})
    await eventually(lambda: len(moderator.asked) == 1)
    for _ in range(300):
        viewer.command("set_effect", {"effect": "sepia"})
    await eventually(lambda: len(said(viewer)) == 295)
    assert set(said(viewer)) == {"5 commands wait already"}
    viewer.messages.clear()
    moderator.gate.set()
    await eventually(lambda: len(said(viewer)) == 6)
    assert said(viewer) == ["invert", *["sepia"] * 5]
    assert len(moderator.asked) == 6


async def test_what_waits_for_a_verdict_goes_with_its_connection(launch, moderator):
    scene = launch(ECHO)
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    await viewer.message("effect_changed")
    moderator.gate.clear()
    viewer.command("set_effect", {"effect": "sepia"})
    await eventually(lambda: len(moderator.asked) == 1)
    again = await scene.join(session_id, viewer.connection_id)
    await again.message("effect_changed")
    moderator.gate.set()
    again.command("set_effect", {"effect": "edges"})
    assert (await again.message("effect_changed"))["effect"] == "edges"


async def test_a_session_ends_while_a_verdict_is_out(launch, moderator):
    scene = launch(ECHO)
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    moderator.gate.clear()
    viewer.command("set_effect", {"effect": "sepia"})
    session = scene.local.session(session_id)
    await eventually(lambda: moderator.asked)
    async with asyncio.timeout(5):
        await scene.client.delete_session(TENANT, session_id, None)
    assert len(session._tasks) == 0


async def test_a_service_that_is_away_refuses_and_comes_back(launch, moderator):
    scene = launch(ECHO)
    viewer = await scene.join(await scene.opened())
    await viewer.message("effect_changed")
    moderator.statuses = [500, 500, 500]
    viewer.command("set_effect", {"effect": "sepia"})
    refused = {"command": "set_effect", "reason": "this cannot be moderated now; try again"}
    assert await viewer.message("command_error") == refused
    viewer.command("set_effect", {"effect": "edges"})
    await viewer.message("effect_changed")
    assert not any(kind == "moderation" for kind, _ in viewer.messages), "nobody has judged anything"


async def branched(scene: Any, session_id: str, model: str, holding: bytes) -> str:
    """A session from a snapshot of this one, once that holds something."""

    await eventually(lambda: holds(scene, session_id, holding))
    snapshot = await scene.client.save_snapshot(TENANT, session_id, SaveSnapshot())
    body = CreateSession(model=ModelRef(name=model), from_snapshot=snapshot.snapshot_id)
    return (await scene.client.create_session(TENANT, body)).session_id


async def test_no_session_starts_from_a_snapshot_that_is_not_allowed(launch, unmeasured, moderator):
    scene = launch(SHARED)
    first = await scene.opened("longlive-v2")
    viewer = await scene.join(first)
    viewer.command("set_shot", {"prompt": "a dune"})
    viewer.command("schedule_scene_cut", {"prompt": "a storm", "at_session_chunk": 40})
    await viewer.message("scene_cut_scheduled")
    for word in ("dune", "storm"):
        deny(moderator, word)
        await ended(scene, await branched(scene, first, "longlive-v2", b"a storm"), SessionState.CLOSED, "moderation")
    moderator.statuses = [500, 500, 500]
    branch = await branched(scene, first, "longlive-v2", b"a storm")
    await ended(scene, branch, SessionState.INACTIVE, "moderation unavailable")
    deny(moderator, "nothing")
    await scene.client.restart_session(TENANT, branch)
    await scene.held(branch)
    assert (await (await scene.join(branch)).message("state"))["current_prompt"] == "a dune"


async def test_a_picture_in_a_snapshot_is_looked_at(launch, moderator):
    scene = launch(ECHO)
    first = await scene.opened()
    viewer = await scene.join(first)
    picture = noise()
    viewer.command("set_image", {"image": await uploaded(scene, first, picture)})
    await viewer.message("image_accepted")
    deny(moderator, "image")
    await ended(scene, await branched(scene, first, "echo", b'"image":"'), SessionState.CLOSED, "moderation")
    assert moderator.asked[-1]["image"]["mime_type"] == "image/png"
