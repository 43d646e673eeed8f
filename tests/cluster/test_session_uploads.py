"""Commands with files in a session: the bytes reach the model, and no command overtakes another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from redis.exceptions import ConnectionError as RedisAway

from cluster.attachments import AWAY, GONE, LATE, REFUSED
from cluster.errors import UploadRefused
from models.echo import FORMAT
from tests.support.pictures import encoded, noise
from tests.support.rtc_client import RtcClient
from tests.support.waiting import eventually, settle
from wire.http import FLAT_CONNECTION_ID
from wire.uploads import CreateUpload

pytestmark = pytest.mark.media

TENANT = "key_tenant"
ORANGE = np.full((FORMAT.height, FORMAT.width, 3), (250, 120, 0), np.uint8)


class File:
    """An upload of a session, in its steps."""

    def __init__(self, scene, session_id: str, data: bytes, tenant: str = TENANT) -> None:
        self.client, self.session_id, self.data, self.tenant = scene.client, session_id, data, tenant
        self.id = self._token = ""

    async def ask(self) -> File:
        body = CreateUpload(name="a.png", size=len(self.data), mime_type="text/plain")
        self.id, self._token = await self.client.create_upload(self.tenant, self.session_id, body)
        return self

    async def put(self, data: bytes | None = None) -> File:
        async def body() -> AsyncIterator[bytes]:
            yield self.data if data is None else data

        await self.client.receive_upload(self._token, body(), None, {})
        return self

    @property
    def reference(self) -> dict[str, Any]:
        return {"upload_id": self.id, "name": "other.jpg", "mime_type": "image/jpeg", "size": 1}


async def uploaded(scene, session_id: str, data: bytes, tenant: str = TENANT) -> File:
    return await (await File(scene, session_id, data, tenant).ask()).put()


def said(viewer: RtcClient) -> list[Any]:
    """Effects in force, sizes of pictures and refusals, in order."""
    keys = {"effect_changed": "effect", "image_accepted": "width", "command_error": "reason"}
    return [data[keys[kind]] for kind, data in viewer.messages if kind in keys]


async def test_a_picture_reaches_the_model(launch):
    scene = launch()
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    file = await uploaded(scene, session_id, encoded(ORANGE))
    viewer.command("set_image", uploads={"image": file.reference})
    assert await viewer.message("image_accepted") == {"width": FORMAT.width, "height": FORMAT.height}

    def orange(received) -> bool:
        return bool(received.pictures) and np.abs(received.pictures[-1].mean((0, 1)) - (250, 120, 0)).max() < 12

    await viewer.received["main_video"].wait(orange)
    viewer.command("set_image", {"image": file.reference})  # among the data does as well, and again
    await viewer.message("image_accepted")


async def test_no_command_overtakes_another(launch):
    scene = launch()
    session_id = await scene.opened()
    viewer, other = await scene.join(session_id), await scene.join(session_id)
    await viewer.message("effect_changed")
    file = await File(scene, session_id, noise(size=(48, 32))).ask()
    later = await uploaded(scene, session_id, noise(size=(20, 10)))
    viewer.command("set_effect", {"effect": "sepia"})
    viewer.command("set_image", uploads={"image": file.reference})
    viewer.command("set_effect", {"effect": "blur"})
    viewer.command("set_image", uploads={"image": later.reference})
    viewer.command("set_effect", {"effect": "edges"})
    viewer.command("teleport")
    await viewer.message("effect_changed")
    other.command("set_effect", {"effect": "invert"})
    await eventually(lambda: said(viewer) == ["invert"])  # another connection does not wait
    await file.put()
    await eventually(lambda: len(said(viewer)) == 6)
    assert said(viewer) == ["invert", 48, "blur", 20, "edges", "unknown command"]


async def test_files_that_are_not_to_be_had_cost_their_command_alone(launch, monkeypatch):
    scene = launch()
    session_id, elsewhere = await scene.opened(), (await scene.create()).session_id
    foreign = (await scene.create(tenant="key_other")).session_id
    session = scene.local.session(session_id)
    session._attachments._limits = session._attachments._limits.model_copy(update={"wait_s": 0.2})
    viewer = await scene.join(session_id)
    await viewer.message("effect_changed")
    refused = await File(scene, session_id, b"no picture").ask()
    with suppress(UploadRefused):
        await refused.put()
    gone = await uploaded(scene, session_id, noise())
    await session._attachments._storage.delete([f"uploads/{gone.id}"])
    cases = {
        "never": GONE,
        "": GONE,
        "../../x": GONE,
        (await uploaded(scene, elsewhere, noise())).id: GONE,
        (await uploaded(scene, foreign, noise(), "key_other")).id: GONE,
        refused.id: REFUSED,
        gone.id: GONE,
        (await File(scene, session_id, noise()).ask()).id: LATE,
    }
    for upload_id, reason in cases.items():
        viewer.command("set_image", {"image": {"upload_id": upload_id}})
        viewer.command("set_effect", {"effect": "sepia"})
        assert (await viewer.message("command_error")) == {"command": "set_image", "reason": reason}
        await viewer.message("effect_changed")

    async def away(*_: object) -> None:
        raise RedisAway("down")

    monkeypatch.setattr(session._attachments._index, "get", away)
    viewer.command("set_image", {"image": {"upload_id": "any"}})
    assert (await viewer.message("command_error"))["reason"] == AWAY
    viewer.command("set_effect", {"effect": "none"})
    await viewer.message("effect_changed")


async def test_a_flood_behind_a_file_is_refused_and_bounded(launch):
    scene = launch(max_waiting_commands=5)
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    await viewer.message("effect_changed")
    file = await File(scene, session_id, noise()).ask()
    viewer.command("set_image", uploads={"image": file.reference})
    for _ in range(500):
        viewer.command("set_effect", {"effect": "sepia"})
    await eventually(lambda: len(said(viewer)) == 495)
    assert set(said(viewer)) == {"5 commands wait already"}
    viewer.messages.clear()
    await file.put()
    await eventually(lambda: len(said(viewer)) == 6)
    assert said(viewer) == [48, *["sepia"] * 5]


async def test_what_waits_goes_with_its_connection(launch):
    scene = launch()
    session_id = await scene.opened()
    viewer = await scene.join(session_id)
    file = await File(scene, session_id, noise()).ask()
    viewer.command("set_image", uploads={"image": file.reference})
    viewer.command("set_effect", {"effect": "sepia"})
    session = scene.local.session(session_id)
    await eventually(lambda: session._dialogue._inboxes)
    again = await scene.join(session_id, viewer.connection_id)
    await again.message("effect_changed")
    assert not session._dialogue._inboxes
    await file.put()
    again.command("set_effect", {"effect": "blur"})
    assert (await again.message("effect_changed"))["effect"] == "blur"
    await settle()
    assert "image_accepted" not in [kind for kind, _ in again.messages]


async def test_a_session_that_ends_waits_for_no_file(launch):
    scene = launch()
    session_id = await scene.opened()
    viewer = await scene.join(session_id, FLAT_CONNECTION_ID)
    file = await File(scene, session_id, noise()).ask()
    viewer.command("set_image", uploads={"image": file.reference})
    session = scene.local.session(session_id)
    await eventually(lambda: session._dialogue._inboxes)
    async with asyncio.timeout(5):
        await scene.client.delete_session(TENANT, session_id, None)
    assert len(session._tasks) == 0
