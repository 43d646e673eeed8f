"""Clips in hls.js, the player of those who have none of their own: asked for by a second client, played in Chromium."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pages import served
from playwright.async_api import Browser

from cluster.media.recorder import SEGMENT_S
from tests.support.api import Api
from tests.support.client import Client
from tests.support.server import Server
from wire.frames import RequestClip, RequestRecording

DIST = Path(__file__).parent / "js290" / "dist"


@dataclass(frozen=True)
class Clip:
    """A clip as `clipReady` told of it."""

    playlist: str
    seconds: float


async def ask(server: Server, session_id: str, *requests: RequestClip | RequestRecording) -> list[Clip]:
    """Clips of a session that someone else plays."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        await (api := Api(http)).sign_in(server.api_key)
        async with Client(api, session_id, outputs={}) as client:
            await client.connect()
            told = [await client.peer.ask(request) for request in requests]
    assert [kind for kind, _ in told] == ["clipReady"] * len(requests), told
    return [Clip(server.url + data["playlist_url"], data["end_marker"] - data["start_marker"]) for _, data in told]


async def check_plays(browser: Browser, server: Server, clip: Clip, size: list[int]) -> None:
    """It plays over a segment's border, and its end, without a fatal error or a hole; it is as long as it should be."""
    token = server.token()["Authorization"].removeprefix("Bearer ")
    page = await browser.new_page()
    with served(DIST) as origin:
        await page.goto(f"{origin}hls.html")
        seen = await page.evaluate("clip => playClip(...clip)", [clip.playlist, token])
    await page.close()
    assert len(seen["segments"]) > 1, seen
    assert seen["segments"][0] < seen["currentTime"] == pytest.approx(seen["duration"], abs=0.1), seen
    assert clip.seconds - 0.1 <= seen["duration"] < clip.seconds + SEGMENT_S, seen
    assert (seen["stretches"], seen["size"]) == (1, size), seen
