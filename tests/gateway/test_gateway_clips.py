"""Clips from the request on the data channel to the file that plays, while the session lives and after it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.client import ClusterClient
from cluster.settings import PoolSettings, RecordingSettings, Settings
from gateway.capability import Capability
from tests.gateway.conftest import Headers, Mint, ReadyWhen
from tests.support.films import play
from tests.support.local import LocalCluster
from tests.support.rtc_client import WAIT_S, RtcClient
from tests.support.waiting import eventually

pytestmark = pytest.mark.media

FPS = 24
Join = Callable[[str], Awaitable[RtcClient]]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    recording = RecordingSettings(keep="clips", folder=tmp_path / "recordings")
    changes = {"recording": recording, "pools": (PoolSettings(model="longlive-v2", min_warm=1),)}
    return settings.model_copy(update=changes)


@pytest.fixture
async def session(http: httpx.AsyncClient, auth: Headers, until_ready: ReadyWhen) -> AsyncIterator[str]:
    """A session that a worker holds."""
    answer = await http.post("/sessions", headers=auth, json={"model": {"name": "longlive-v2"}})
    session_id = answer.json()["session_id"]
    await until_ready(auth, session_id)
    yield session_id
    await http.delete(f"/sessions/{session_id}", headers=auth)


@pytest.fixture
async def join(cluster: ClusterClient, local: LocalCluster, auth: Headers, session: str) -> AsyncIterator[Join]:
    """Connects clients to the session."""
    clients: list[RtcClient] = []

    async def connect(tenant: str) -> RtcClient:
        client = RtcClient(codecs=("VP8",))
        clients.append(client)
        connection_id = await cluster.create_connection(tenant, session)
        await cluster.offer(tenant, session, connection_id, await client.offer())
        answer = await cluster.answer(tenant, session, connection_id, WAIT_S)
        assert answer is not None
        await client.accept(answer)
        client.notify("resume_track", "main_video")
        return client

    yield connect
    for client in clients:
        await client.close()


@pytest.fixture
async def director(join: Join, local: LocalCluster, session: str) -> RtcClient:
    """A client that has a story told, and has paused it after two chunks."""
    client = await join(local.session(session).grant.tenant)
    client.command("set_shot", {"prompt": "a secret garden"})
    client.command("start")
    for _ in range(2):
        await client.message("chunk_complete")
    client.command("pause")
    await client.message("generation_paused")
    return client


async def ask(client: RtcClient, kind: str = "requestClip", **data: Any) -> dict[str, Any]:
    """The reply to a request for a clip."""
    client.send("data", json.dumps({"scope": "runtime", "data": {"type": kind, "data": data}}))
    ready: dict[str, Any] = await client.message("clipReady")
    return ready


async def refused(client: RtcClient, **data: Any) -> str:
    client.send("data", json.dumps({"scope": "runtime", "data": {"type": "requestClip", "data": data}}))
    reason: str = (await client.message("clipFailed"))["reason"]
    return reason


async def poll(http: httpx.AsyncClient, auth: Headers, url: str) -> httpx.Response:
    """The playlist, when it is ready; clients wait as they are told."""

    async def ready() -> httpx.Response | None:
        answer = await http.get(url, headers=auth)
        assert answer.status_code in (200, 202), answer.text
        if answer.status_code == 202:
            assert float(answer.headers["Retry-After"]) <= 2
        return answer if answer.status_code == 200 else None

    answer: httpx.Response = await eventually(ready)
    return answer


async def download(http: httpx.AsyncClient, playlist: httpx.Response) -> bytes:
    """What the published clients do: the initialisation, then every line that is no tag; without a token."""
    lines = playlist.text.splitlines()
    init = next(line for line in lines if line.startswith("#EXT-X-MAP")).split('"')[1]
    parts = [await http.get(playlist.url.join(uri)) for uri in [init, *(each for each in lines if each[0] != "#")]]
    assert [part.status_code for part in parts] == [200] * len(parts)
    assert [part.headers["content-type"] for part in parts] == ["video/mp4"] + ["video/iso.segment"] * (len(parts) - 1)
    return b"".join(part.content for part in parts)


async def played_out(director: RtcClient, local: LocalCluster, session: str, pictures: int) -> None:
    await eventually(lambda: local.session(session)._recorder.now_s * FPS >= pictures)


async def test_a_clip_of_a_paused_story_is_ready_and_plays(http, auth, session, director, local):
    await played_out(director, local, session, 58)
    before_ms = time.time() * 1000
    clip = await ask(director, duration_seconds=2.0)
    assert (clip["session_id"], clip["kind"]) == (session, "snap")
    assert clip["end_marker"] == clip["now_marker"] == pytest.approx(58 / FPS)
    assert clip["end_marker"] - clip["start_marker"] == pytest.approx(2.0)
    assert before_ms < clip["predicted_ready_at_ms"] < before_ms + 60_000
    playlist = await poll(http, auth, clip["playlist_url"])
    assert playlist.headers["content-type"] == "application/vnd.apple.mpegurl"
    film = play(await download(http, playlist))
    assert film.numbers == list(range(58)), "not paused where it was generated: every picture that was shown"
    assert film.keyframes[0]
    assert all(b - a == pytest.approx(1 / FPS, abs=1e-4) for a, b in pairwise(film.times))
    whole = await ask(director, "requestRecording")
    assert (whole["kind"], whole["start_marker"]) == ("recording", 0.0)
    assert play(await download(http, await poll(http, auth, whole["playlist_url"]))).numbers == list(range(58))


async def test_replies_go_to_the_asker_alone_and_bad_lengths_are_refused(session, director, join, local):
    await played_out(director, local, session, 58)
    other = await join(local.session(session).grant.tenant)
    assert await refused(director, duration_seconds=-1) == "duration_seconds must be positive"
    assert await refused(director, duration_seconds=0) == "duration_seconds must be positive"
    for length in (float("inf"), float("nan"), "3", None, 1e300):
        assert await refused(director, duration_seconds=length) == "invalid duration_seconds"
    long = await ask(director, duration_seconds=10_000)
    assert long["start_marker"] == 0.0, "no more than there is"
    await other.message("state")
    assert not {kind for kind, _ in other.messages} & {"clipReady", "clipFailed"}


async def test_a_clip_outlives_its_session_and_is_gone_when_its_time_is_over(
    http, auth, session, director, local, settings
):
    await played_out(director, local, session, 58)
    url = (await ask(director, duration_seconds=300))["playlist_url"]
    live = await download(http, await poll(http, auth, url))
    epoch = local.session(session).grant.epoch
    tenant = local.session(session).grant.tenant
    await http.delete(f"/sessions/{session}", headers=auth)
    assert (await http.get(url, headers=auth)).status_code == 200, "from the worker, or from the storage"
    await eventually(lambda: not any(handle.worker._recordings.busy for handle in local.backend.workers.values()))
    assert (await local.client._archive.find(tenant, session, epoch)).stored
    assert await download(http, await poll(http, auth, url)) == live
    events = await http.get("/clips/events", params={"session_id": session, "recording": epoch}, headers=auth)
    told = [json.loads(line) for line in events.text.splitlines()]
    assert [each["type"] for each in told if each["kind"] == "command"] == ["set_shot", "start", "pause"]
    times = [each["t"] for each in told]
    assert times == sorted(times)
    outside = await http.get(url.replace("end=", "end=9"), headers=auth)
    assert (outside.status_code, outside.json()["code"]) == (400, "outside_recording")
    await local.redis.delete(
        local.client._archive._key(tenant, await local.client._archive.find(tenant, session, epoch))
    )
    gone = await http.get(url, headers=auth)
    assert (gone.status_code, gone.json()["code"]) == (410, "clip_gone")


async def test_nothing_is_kept_of_a_session_in_which_nobody_asked(http, auth, session, director, local, settings):
    await played_out(director, local, session, 58)
    grant = local.session(session).grant
    await http.delete(f"/sessions/{session}", headers=auth)
    await eventually(lambda: not any(handle.worker._recordings.busy for handle in local.backend.workers.values()))
    query = {"session_id": session, "recording": grant.epoch, "start": 0, "end": 1}
    assert (await http.get("/clips", params=query, headers=auth)).status_code == 410
    assert not list(settings.storage.folder.rglob("*"))


async def test_a_playlist_is_for_the_owner_and_its_urls_are_for_that_clip_alone(
    http, auth, mint: Mint, other_key, session, director, local, cluster
):
    await played_out(director, local, session, 58)
    url = (await ask(director, duration_seconds=1))["playlist_url"]
    playlist = await poll(http, auth, url)
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
