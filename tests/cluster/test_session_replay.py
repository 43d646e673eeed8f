"""The log of a real session, whenever its commands came, makes the same pictures again, bit for bit."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cluster.errors import ClipGone, NotFound
from cluster.settings import PoolSettings, RecordingSettings, Settings
from longlive import model
from longlive.replay import Made, app, read_log, replay
from tests.support.rtc_client import RtcClient
from tests.support.waiting import eventually
from wire.frames import RequestClip
from wire.http import CreateSession, ModelRef, SavedSnapshot, SaveSnapshot

pytestmark = pytest.mark.media

TENANT = "key_tenant"
SHARED = PoolSettings(model="longlive-v2", min_warm=1, sessions_per_worker=2)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    recording = RecordingSettings(keep="clips", folder=tmp_path / "recordings")
    return settings.model_copy(update={"recording": recording})


async def directed(viewer: RtcClient, chances: random.Random) -> None:
    """A story whose commands come whenever they come."""
    viewer.command("set_seed", {"seed": 7})
    viewer.command("set_shot", {"prompt": "a red dune"})
    viewer.command("schedule_scene_cut", {"prompt": "a neon street in the rain", "at_session_chunk": 1})
    viewer.command("start")
    for name, data in (
        ("move_beat", {"from": 1, "to": 2}),
        ("set_shot", {"prompt": "a red dune at night"}),
        ("schedule_shot", {"prompt": " "}),
        ("set_seed", {"seed": 8}),
    ):
        await viewer.message("state")
        await asyncio.sleep(chances.uniform(0, 0.4))  # not to wait for anything: to come at any time
        viewer.command(name, data)
    while (await viewer.message("chunk_complete"))["session_chunk"] < 3:
        pass
    viewer.command("pause")
    await viewer.message("generation_paused")


async def saved(scene: Any, session_id: str) -> SavedSnapshot:
    """The session, at rest."""
    await scene.local.session(session_id)._settled()
    return await scene.client.save_snapshot(TENANT, session_id, SaveSnapshot())


async def sidecar(scene: Any, session_id: str) -> bytes:
    """The log that lies beside the recording, once it has all of a clip."""
    session = scene.local.session(session_id)
    session.message(next(iter(session.connections._connections.values())), RequestClip(1.0))

    async def written() -> bytes:
        with suppress(ClipGone):  # not yet
            data = await scene.client.recorded(TENANT, session_id, 1, "events.jsonl")
            return data if b'"generation_paused"' in data else b""
        return b""

    return await eventually(written)


def again(log: bytes) -> list[Made]:
    tiny = model("tiny")
    return list(replay(read_log(log.splitlines()), tiny.director(), tiny.load("cpu").open()))


async def test_a_session_and_its_branch_are_made_again_from_their_logs(launch, unmeasured, tmp_path):
    scene = launch(SHARED)
    first = await scene.opened("longlive-v2")
    live = scene.tapped(first)
    viewer = await scene.join(first)
    await directed(viewer, random.Random())
    snapshot = await saved(scene, first)
    assert snapshot.events
    log = await scene.client.snapshot_events(TENANT, snapshot.snapshot_id)

    assert log.startswith(await sidecar(scene, first)), "the recording has the same one"

    made = await asyncio.to_thread(again, log)
    assert len(made) >= 3
    assert "cut" in {chunk.plan.kind for chunk in made}
    assert all(chunk.same for chunk in made)
    assert np.array_equal(np.concatenate([chunk.frames for chunk in made]), np.concatenate(live))

    body = CreateSession(model=ModelRef(name="longlive-v2"), from_snapshot=snapshot.snapshot_id)
    branch = (await scene.client.create_session(TENANT, body)).session_id
    await scene.held(branch)
    viewer = await scene.join(branch)
    viewer.command("scene_cut", {"prompt": "a harbour"})
    viewer.command("resume")
    await viewer.message("chunk_complete")
    viewer.command("pause")
    await viewer.message("generation_paused")
    path = tmp_path / "events.jsonl"
    path.write_bytes(await scene.client.snapshot_events(TENANT, (await saved(scene, branch)).snapshot_id))
    told = await asyncio.to_thread(CliRunner().invoke, app, [str(path)])
    assert told.exit_code == 0, told.output
    assert "cut, 29 pictures: as recorded" in told.output
    assert "none of them not as recorded" in told.output

    with pytest.raises(NotFound):
        await scene.client.snapshot_events("stranger", snapshot.snapshot_id)
