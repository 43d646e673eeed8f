"""Clips from the request on the data channel to the file that plays, while the session lives and after it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from cluster.archive import Archive
from cluster.settings import PoolSettings, RecordingSettings, Settings
from cluster.storage import open_storage
from gateway.capability import Capability
from tests.gateway.conftest import Mint
from tests.support.api import Api
from tests.support.client import Client
from tests.support.films import play
from tests.support.local import LocalCluster
from tests.support.waiting import eventually
from wire.frames import RequestClip, RequestRecording

pytestmark = pytest.mark.media

FPS = 24
PER_CHUNK = 29


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    recording = RecordingSettings(keep="clips", folder=tmp_path / "recordings")
    changes = {"recording": recording, "pools": (PoolSettings(model="longlive-v2", min_warm=1),)}
    return settings.model_copy(update=changes)


class Story(NamedTuple):
    """A story that has been told and paused, and how many pictures it has."""

    director: Client
    pictures: int


@pytest.fixture
async def story(api: Api) -> AsyncIterator[Story]:
    """Of two chunks, or of another if the machine was too busy to pause it in time."""
    async with await Client.create(api, "longlive-v2", codecs=("VP8",)) as client:
        await client.connect()
        client.peer.command("set_shot", {"prompt": "a secret garden"})
        client.peer.command("start")
        for _ in range(2):
            await client.peer.message("chunk_complete")
        client.peer.command("pause")
        paused = await client.peer.message("generation_paused")
        yield Story(client, PER_CHUNK * (paused["chunk_index"] + 1))


@pytest.fixture
def director(story: Story) -> Client:
    """The client that has told it."""
    return story.director


@pytest.fixture
def pictures(story: Story) -> int:
    """How many the story has."""
    return story.pictures


@pytest.fixture
def session(director: Client) -> str:
    """The director's session."""
    return director.session_id


async def ask(client: Client, request: RequestClip | RequestRecording) -> dict[str, Any]:
    """The clip that answers a request."""
    kind, data = await client.peer.ask(request)
    assert kind == "clipReady", data
    return data


async def refused(client: Client, **data: Any) -> str:
    """Why there is no clip; of lengths too that are none."""
    client.peer.send("data", json.dumps({"scope": "runtime", "data": {"type": "requestClip", "data": data}}))
    reason: str = (await client.peer.message("clipFailed"))["reason"]
    return reason


async def poll(api: Api, url: str) -> httpx.Response:
    """The playlist, as soon as it is ready; clients wait as they are told."""

    async def ready() -> httpx.Response | None:
        answer = await api.playlist(url)
        if answer.status_code == 202:
            assert float(answer.headers["Retry-After"]) <= 2
        return answer if answer.status_code == 200 else None

    answer: httpx.Response = await eventually(ready)
    return answer


async def download(api: Api, playlist: httpx.Response) -> bytes:
    parts = await api.parts(playlist)
    assert [part.headers["content-type"] for part in parts] == ["video/mp4"] + ["video/iso.segment"] * (len(parts) - 1)
    return b"".join(part.content for part in parts)


async def played_out(local: LocalCluster, session: str, pictures: int) -> None:
    await eventually(lambda: local.session(session)._outbound._recorder.now_s * FPS >= pictures)


async def test_a_clip_of_a_paused_story_is_ready_and_plays(api, session, director, local, pictures):
    await played_out(local, session, pictures)
    before_ms = time.time() * 1000
    clip = await ask(director, RequestClip(2.0))
    assert (clip["session_id"], clip["kind"]) == (session, "snap")
    assert clip["end_marker"] == clip["now_marker"] == pytest.approx(pictures / FPS)
    assert clip["end_marker"] - clip["start_marker"] == pytest.approx(2.0)
    assert before_ms < clip["predicted_ready_at_ms"] < before_ms + 60_000
    playlist = await poll(api, clip["playlist_url"])
    assert playlist.headers["content-type"] == "application/vnd.apple.mpegurl"
    film = play(await download(api, playlist))
    assert film.numbers == list(range(pictures)), "not paused where it was generated: every picture that was shown"
    assert film.keyframes[0]
    assert all(b - a == pytest.approx(1 / FPS, abs=1e-4) for a, b in pairwise(film.times))
    whole = await ask(director, RequestRecording())
    assert (whole["kind"], whole["start_marker"]) == ("recording", 0.0)
    assert play(await download(api, await poll(api, whole["playlist_url"]))).numbers == list(range(pictures))


async def test_replies_go_to_the_asker_alone_and_bad_lengths_are_refused(api, session, director, local, pictures):
    await played_out(local, session, pictures)
    other = Client(api, session)
    await other.connect()
    assert await refused(director, duration_seconds=-1) == "duration_seconds must be positive"
    assert await refused(director, duration_seconds=0) == "duration_seconds must be positive"
    for length in (float("inf"), float("nan"), "3", None, 1e300):
        assert await refused(director, duration_seconds=length) == "invalid duration_seconds"
    long = await ask(director, RequestClip(10_000))
    assert long["start_marker"] == 0.0, "no more than there is"
    await other.peer.message("state")
    assert not {kind for kind, _ in other.peer.messages} & {"clipReady", "clipFailed"}
    await other.close()


async def test_a_clip_outlives_its_session_and_is_gone_when_its_time_is_over(
    http, auth, api, session, director, local, pictures
):
    await played_out(local, session, pictures)
    url = (await ask(director, RequestClip(300)))["playlist_url"]
    live = await download(api, await poll(api, url))
    epoch = local.session(session).grant.epoch
    tenant = local.session(session).grant.tenant
    await http.delete(f"/sessions/{session}", headers=auth)
    assert (await http.get(url, headers=auth)).status_code == 200, "from the worker, or from the storage"
    await eventually(lambda: not any(handle.worker._recordings.busy for handle in local.backend.workers.values()))
    archive = Archive(local.redis, open_storage(local.settings), local.settings)
    assert (await archive.find(tenant, session, epoch)).stored
    assert await download(api, await poll(api, url)) == live
    events = await http.get("/clips/events", params={"session_id": session, "recording": epoch}, headers=auth)
    told = [json.loads(line) for line in events.text.splitlines()]
    assert [each["type"] for each in told if each["kind"] == "command"] == ["set_shot", "start", "pause"]
    times = [each["t"] for each in told]
    assert times == sorted(times)
    outside = await http.get(url.replace("end=", "end=9"), headers=auth)
    assert (outside.status_code, outside.json()["code"]) == (400, "outside_recording")
    await local.redis.delete(archive._key(tenant, await archive.find(tenant, session, epoch)))
    gone = await http.get(url, headers=auth)
    assert (gone.status_code, gone.json()["code"]) == (410, "clip_gone")


async def test_nothing_is_kept_of_a_session_in_which_nobody_asked(
    http, auth, session, director, local, pictures, settings
):
    await played_out(local, session, pictures)
    grant = local.session(session).grant
    await http.delete(f"/sessions/{session}", headers=auth)
    await eventually(lambda: not any(handle.worker._recordings.busy for handle in local.backend.workers.values()))
    query = {"session_id": session, "recording": grant.epoch, "start": 0, "end": 1}
    assert (await http.get("/clips", params=query, headers=auth)).status_code == 410
    assert not list(settings.storage.folder.rglob("*"))


async def test_a_playlist_is_for_the_owner_and_its_urls_are_for_that_clip_alone(
    http, auth, api, mint: Mint, other_key, session, director, local, pictures, cluster
):
    await played_out(local, session, pictures)
    url = (await ask(director, RequestClip(1)))["playlist_url"]
    playlist = await poll(api, url)
    assert (await http.get(url)).status_code == 401
    assert (await http.get(url, headers=await mint(other_key))).status_code == 410
    for times in (
        {"start": -1, "end": 1},
        {"start": "nan", "end": 1},
        {"start": 0, "end": "inf"},
        {"start": 2, "end": 1},
    ):
        query = {"session_id": session, "recording": local.session(session).grant.epoch, **times}
        answer = await http.get("/clips", params=query, headers=auth)
        assert (answer.status_code, answer.json()["code"]) == (400, "outside_recording")
    assert (await http.get("/clips", params={"session_id": session, "recording": 0}, headers=auth)).status_code == 400
    chunk = next(line for line in playlist.text.splitlines() if line.endswith(".m4s"))
    token = chunk.split("/")[2]
    for bad in (
        chunk.replace("chunk_00000", "chunk_00007"),
        chunk.replace("chunk_00000.m4s", "events.jsonl"),
        chunk.replace("chunk_00000.m4s", "..%2f..%2finit.mp4"),
        chunk.replace(token, token[:-2] + ("AA" if token[-2:] != "AA" else "BB")),
        chunk.replace(token, auth["Authorization"].split()[1]),
    ):
        answer = await http.get(f"/{bad}")
        assert answer.status_code in (403, 404), bad
    clip = Capability.read(token, await cluster.jwt_secret())
    stale = clip.sign(await cluster.jwt_secret(), int(time.time()) - 1)
    answer = await http.get(f"/{chunk.replace(token, stale)}")
    assert (answer.status_code, answer.json()["code"]) == (403, "invalid_capability")
    assert (await http.get("/sessions/x", headers={"Authorization": f"Bearer {token}"})).status_code == 401
