"""Clients over the whole public wire, HTTP to pictures, and their return when their network has changed under them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from av import VideoFrame

from cluster.settings import PoolSettings, Settings
from longlive import stamp
from tests.support.api import Api
from tests.support.client import Client
from tests.support.pictures import encoded
from tests.support.received import MediaFrame
from tests.support.waiting import eventually
from wire.frames import Command, RequestClip, RequestSchema

pytestmark = pytest.mark.media

ORANGE = np.full((480, 640, 3), (250, 120, 0), np.uint8)


class Pictures:
    """What came: pictures as RGB, and whether each was a keyframe."""

    def __init__(self) -> None:
        self.all: list[tuple[np.ndarray, bool]] = []

    def look(self, _: str, frame: MediaFrame) -> None:
        assert isinstance(frame, VideoFrame)
        self.all.append((frame.to_ndarray(format="rgb24"), bool(frame.key_frame)))

    @property
    def numbers(self) -> list[int]:
        found = [stamp.read(picture) for picture, _ in self.all]
        return [number for number in found if number is not None]


@pytest.mark.parametrize("protocol", ["v0", "v1"])
async def test_a_client_of_either_protocol(api: Api, protocol: str) -> None:
    seen = Pictures()
    async with await Client.create(api, "echo", protocol=protocol, on_frame=seen.look) as client:
        await client.connect()
        greeting = await client.peer.message("effect_changed")
        assert (greeting["effect"], greeting["intensity"]) == ("none", 1)
        kind, schema = await client.peer.ask(RequestSchema())
        assert kind == "modelSchema"
        assert "/events/set_effect" in schema["paths"]
        await client.command_with("set_image", "image", encoded(ORANGE), "image/png")
        assert await client.peer.message("image_accepted") == {"width": 640, "height": 480}
        await eventually(lambda: seen.all and np.abs(seen.all[-1][0].mean((0, 1)) - (250, 120, 0)).max() < 16)
        kind, told = await client.peer.ask(RequestClip(1.0))
        assert (kind, told) == ("clipFailed", {"reason": "recorder disabled"})


async def test_commands_of_v1_are_answered_one_by_one(api: Api) -> None:
    async with await Client.create(api, "echo", protocol="v1", outputs={}) as client:
        await client.connect()
        assert await client.peer.ask(Command("set_effect", {"effect": "sepia"})) == ("commandAccepted", {})
        kind, told = await client.peer.ask(Command("set_effect", {"effect": "plaid"}))
        assert (kind, told["error"]["code"]) == ("error", "invalid_command")


# --- coming back ----------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"pools": (PoolSettings(model="longlive-v2"), PoolSettings(model="echo"))})


@pytest.mark.parametrize("fresh", [False, True], ids=["the same connection", "a fresh connection"])
async def test_a_client_comes_back_when_its_network_has_changed(api: Api, local: Any, fresh: bool) -> None:
    seen = Pictures()
    async with (
        await Client.create(api, "longlive-v2", on_frame=seen.look) as client,
        Client(api, client.session_id, outputs={}) as other,
    ):
        await client.connect()
        await other.connect()
        connections = local.session(client.session_id).connections
        client.peer.command("set_shot", {"prompt": "dunes"})
        client.peer.command("start")
        await eventually(lambda: len(seen.all) > 20)

        client.peer.vanish()
        before, former = seen.numbers[-1], client.connection_id
        seen.all.clear()
        await client.reconnect(fresh=fresh)
        assert (await client.peer.message("state"))["running"]
        await eventually(lambda: len(seen.all) > 5)
        assert seen.all[0][1], "a keyframe at once"
        assert seen.numbers[0] >= before, "nothing from before but the picture that stands"
        assert seen.numbers == sorted(seen.numbers)
        assert (client.connection_id != former) is fresh
        await eventually(lambda: set(connections.ids) == {client.connection_id, other.connection_id})
        assert connections._open == {client.connection_id, other.connection_id}
