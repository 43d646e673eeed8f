"""The studio in Chromium, used as a person would: compose, connect, direct, edit, watch, leave."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import av
import httpx
import jwt
import pytest
import pytest_asyncio
from hls import ask, check_plays
from playwright.async_api import Browser, Locator, Page, Route, async_playwright, expect
from scenario import CHROMIUM

from tests.support.server import Server
from wire.frames import RequestClip, RequestRecording

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module")]

WAIT_MS = 60_000
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]
PRESETS = ("Dune crossing", "Harbour night", "Four seasons", "Pursuit", "One long take")


@pytest.fixture(scope="module")
def chromium() -> str:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is missing: `make clients` installs it", pytrace=False)
    return CHROMIUM


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(server: Server, browser: Browser) -> AsyncIterator[Page]:
    page = await browser.new_page(base_url=server.url, viewport={"width": 1440, "height": 900})
    page.set_default_timeout(WAIT_MS)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    await page.goto("/")
    yield page
    if await button(page, "Disconnect").is_visible():  # else its session keeps the worker from the next for a while
        await button(page, "Disconnect").click()
        await expect(page.locator("#status")).to_have_text("Not connected")
    await page.close()
    assert not failures


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def clip(page: Page, at: int) -> Locator:
    return page.locator(f'.clip[data-at="{at}"]')


async def connect(page: Page, server: Server, model: str = "longlive-v2") -> None:
    await page.get_by_label("API key or token").fill(server.api_key)
    await page.get_by_label("Model").select_option(model)
    await button(page, "Connect").click()


async def play(page: Page, server: Server, preset: str) -> None:
    await page.get_by_label("Preset").select_option(preset)
    await connect(page, server)
    await expect(page.locator("#status")).to_have_text("Live")
    await button(page, "Start").click()


async def cell_pixels(page: Page) -> float:
    """Width of a chunk in the strip, gap included."""
    first, second = [await page.locator(f'#cells [data-chunk="{n}"]').bounding_box() for n in (0, 1)]
    assert first
    assert second
    return second["x"] - first["x"]


async def drag(page: Page, beat: Locator, chunks: int) -> None:
    await beat.scroll_into_view_if_needed()
    width = await cell_pixels(page)
    box = await beat.bounding_box()
    assert box
    x, y = box["x"] + 6, box["y"] + box["height"] / 2
    await page.mouse.move(x, y)
    await page.mouse.down()
    await page.mouse.move(x + chunks * width, y, steps=6)
    await page.mouse.up()


# --- composing, and playing what was composed


async def test_a_storyboard_is_composed_and_every_edit_shows_on_the_timeline(page: Page):
    assert await page.get_by_label("Preset").locator("option").all_inner_texts() == list(PRESETS)
    await page.get_by_label("Preset").select_option("Harbour night")
    await expect(page.get_by_label("Seed", exact=True)).to_have_value("7")
    await expect(page.locator("#scenes li")).to_have_count(4)
    await expect(clip(page, 18)).to_have_attribute("data-kind", "shot")

    await button(page, "Add scene cut").click()
    await page.get_by_label("Prompt of beat 5").fill("The harbour again, at noon")
    await page.get_by_label("Chunk of beat 5").fill("40")
    await expect(clip(page, 40)).to_contain_text("The harbour again, at noon")
    await page.get_by_label("Kind of beat 5").select_option("Shot")
    await expect(clip(page, 40)).to_have_attribute("data-kind", "shot")

    await drag(page, clip(page, 40), -2)
    await expect(page.get_by_label("Chunk of beat 5")).to_have_value("38")
    await button(page, "Remove beat 1").click()
    await expect(clip(page, 6)).to_have_count(0)

    await page.reload()
    await expect(page.get_by_label("Preset")).to_have_value("own")
    await expect(clip(page, 38)).to_contain_text("The harbour again, at noon")


async def test_plays_the_storyboard_and_lets_its_beats_be_moved_and_removed(page: Page, server: Server):
    await play(page, server, "Dune crossing")
    await expect(page.locator("#cuts")).to_have_text("26")
    await expect(page.locator("#shots")).to_have_text(re.compile("16, 36$"))
    await expect(page.locator("#state-seed")).to_have_text("42")
    await expect(page.locator("#playhead")).to_have_attribute("data-chunk", re.compile("[1-9]"))
    before = await page.locator("#playhead").bounding_box()
    assert before

    await drag(page, clip(page, 26), 4)
    await expect(page.locator("#cuts")).to_have_text("30")
    await expect(clip(page, 30)).to_contain_text("walled desert town")

    await clip(page, 16).focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#shots")).to_have_text(re.compile("17, 36$"))
    await expect(clip(page, 17)).to_be_focused()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator("#shots")).to_have_text(re.compile("15, 36$"))
    await expect(page.locator("#beat-name")).to_contain_text("Shot at chunk 15")

    await clip(page, 36).focus()
    await page.keyboard.press("Delete")
    await expect(page.locator("#shots")).to_have_text(re.compile("15$"))
    await expect(clip(page, 36)).to_have_count(0)
    await clip(page, 30).focus()
    await button(page, "Later").click()
    await expect(page.locator("#cuts")).to_have_text("31")
    await button(page, "Remove").click()
    await expect(page.locator("#cuts")).to_have_text("–")

    await expect(page.locator("#playhead")).to_have_attribute("data-chunk", re.compile("[6-9]|1[0-9]"))
    after = await page.locator("#playhead").bounding_box()
    assert after
    assert after["x"] > before["x"]


async def test_a_beat_fires_and_its_chunks_are_played(page: Page, server: Server):
    await play(page, server, "Pursuit")
    await expect(clip(page, 4)).to_have_attribute("data-when", "now")
    await expect(page.locator('#cells [data-chunk="3"]')).to_have_class("done")
    await expect(page.locator("#current-prompt")).to_contain_text("weaving between buses")
    assert not await clip(page, 4).get_attribute("role"), "what has been played is no longer to be moved"


async def test_a_loaded_storyboard_can_be_changed_before_it_starts(page: Page, server: Server):
    await page.get_by_label("Preset").select_option("Four seasons")
    await connect(page, server)
    await button(page, "Load into session").click()
    await expect(page.locator("#shots")).to_have_text("10, 20, 30")
    await expect(page.locator("#playing")).to_have_text("stopped")
    await drag(page, clip(page, 20), -12)
    await expect(page.locator("#shots")).to_have_text("8, 10, 30")
    await page.get_by_label("Preset").select_option("Harbour night")
    await button(page, "Load into session").click()
    await expect(page.locator("#cuts")).to_have_text("6, 12, 26")
    await expect(page.locator("#shots")).to_have_text("18")


# --- directing live


async def test_plays_what_it_is_told(page: Page, server: Server):
    await connect(page, server)
    await expect(page.locator("#status")).to_have_text("Live")
    await page.get_by_label("Prompt", exact=True).fill("a red dune")
    await button(page, "Set shot now").click()
    await button(page, "Start").click()
    await expect(page.locator("#session-chunk")).to_have_text(re.compile(r"[2-9]"))
    await expect(page.locator("#current-prompt")).to_have_text("a red dune")
    await expect(page.locator("#size")).to_have_text("320×192")
    await expect(page.locator("#fps")).to_have_text(re.compile(r"^2\d\.\d$"))
    await expect(page.locator("#rtt")).to_have_text(re.compile(r"^\d+ ms$"))
    await expect(page.locator("#buffer")).to_have_text(re.compile(r"^\d+ ms$"))
    await expect(page.locator("#lost")).to_have_text(re.compile(r"^\d+$"))

    await page.get_by_label("Prompt", exact=True).fill("a harbour at night")
    await button(page, "Scene cut now").click()
    await expect(page.locator("#scenes li")).to_have_count(2)
    await expect(page.locator("#current-prompt")).to_have_text("a harbour at night")
    await page.get_by_label("At chunk").fill("40")
    await button(page, "Plan shot").click()
    await expect(clip(page, 40)).to_contain_text("a harbour at night")

    await button(page, "Pause").click()
    await expect(page.locator("#playing")).to_have_text("paused")
    await button(page, "Resume").click()
    await expect(page.locator("#playing")).to_have_text("running")
    await button(page, "Reset").click()
    await expect(page.locator("#playing")).to_have_text("stopped")
    await button(page, "Disconnect").click()
    await expect(page.locator("#status")).to_have_text("Not connected")


async def test_a_refusal_stays_where_one_looks_until_a_command_is_accepted(page: Page, server: Server):
    await play(page, server, "One long take")
    await button(page, "Scene cut now").click()
    refused = page.locator("#director").get_by_role("alert")
    await expect(refused).to_have_text("scene_cut failed: prompt is empty")
    chunk = int(await page.locator("#session-chunk").inner_text())
    await expect(page.locator("#session-chunk")).to_have_text(str(chunk + 2))
    await expect(refused).to_be_visible()
    await page.get_by_label("Prompt", exact=True).fill("the boat sinks")
    await page.get_by_label("Prompt", exact=True).press("Control+Enter")
    await expect(page.locator("#current-prompt")).to_have_text("the boat sinks")
    await expect(refused).to_be_hidden()


async def test_a_storyboard_that_cannot_be_sent_is_not_sent(page: Page, server: Server):
    await page.get_by_label("Opening shot").fill("  ")
    await connect(page, server)
    await button(page, "Start").click()
    await expect(page.locator("#storyboard").get_by_role("alert")).to_have_text("The opening shot is missing.")
    await expect(page.locator("#playing")).to_have_text("stopped")
    await expect(page.locator("#status")).to_have_text("Live")  # who leaves earlier leaves a session behind


async def test_makes_a_clip_that_plays_here_and_elsewhere(page: Page, server: Server, browser: Browser, tmp_path: Path):
    await play(page, server, "One long take")
    await expect(page.locator("#session-chunk")).to_have_text("9")
    await page.get_by_label("Length of the clip").select_option("last 5 s")
    async with page.expect_request("**/clips?*") as asking:
        await button(page, "Clip").click()
    dialog = page.get_by_role("dialog", name="Clip")
    await expect(dialog).to_be_visible()
    video = dialog.locator("video")
    await expect(video).to_have_js_property("videoWidth", 320)
    assert 5 <= await video.evaluate("v => v.duration") < 9.5, "whole segments, of at most 4 s"
    async with page.expect_download() as downloading:
        await dialog.get_by_role("link", name="Download").click()
    await (await downloading.value).save_as(tmp_path / "clip.mp4")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    with av.open(str(tmp_path / "clip.mp4")) as film:
        assert film.streams.video[0].start_time == 0, "a film of its own begins at zero"
        assert sum(1 for _ in film.decode(video=0)) >= 5 * 24

    (session_id,) = parse_qs(urlsplit((await asking.value).url).query)["session_id"]
    for clip in await ask(server, session_id, RequestClip(5), RequestRecording()):
        await check_plays(browser, server, clip, size=[320, 192])


async def test_says_why_there_is_no_clip(page: Page, server: Server):
    await connect(page, server)
    await button(page, "Clip").click()
    await expect(page.locator("#stage").get_by_role("alert")).to_have_text("No clip: no media generated yet")


# --- the connection


async def test_waits_for_the_models_before_it_lets_anyone_connect(page: Page):
    asked, answer = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        asked.set()
        await answer.wait()
        await route.continue_()

    await page.route("**/ready", late)
    await page.reload()
    await asked.wait()
    await expect(button(page, "Connect")).to_be_disabled()
    answer.set()
    await expect(button(page, "Connect")).to_be_enabled()


async def test_says_what_is_wrong_with_a_key(page: Page):
    await page.get_by_label("API key or token").fill("rk_wrong")
    await button(page, "Connect").click()
    await expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("invalid_api_key")


async def test_takes_a_key_from_the_fragment_and_out_of_sight(page: Page, server: Server):
    await page.goto(f"/#key={server.api_key}")
    await page.reload()
    await page.goto(f"/?again#key={server.api_key}")
    await expect(page.get_by_label("API key or token")).to_have_value(server.api_key)
    assert page.url == f"{server.url}/studio"


@pytest.mark.parametrize("stream", [True, False], ids=["told by the stream", "asking"])
async def test_shows_its_place_in_the_queue(page: Page, server: Server, stream: bool):
    if not stream:
        await page.route("**/sessions/*/events", lambda route: route.abort())
    headers = server.token()
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as api:
        ahead = [(await api.post("/sessions", json={"model": {"name": "echo"}})).json()["session_id"] for _ in range(2)]
        try:
            await connect(page, server, "echo")
            await expect(page.locator("#status")).to_have_text("In the queue")
            await expect(page.locator("#queue")).to_have_text(re.compile("^1 ahead"))
            await expect(page.locator("#idle-text")).to_have_text(re.compile("^In the queue: 1 ahead"))
            await api.delete(f"/sessions/{ahead[1]}")
            await expect(page.locator("#queue")).to_have_text(re.compile("^next in line"))
        finally:
            for session in ahead:
                await api.delete(f"/sessions/{session}")
    await expect(page.locator("#status")).to_have_text("Live")
    await expect(page.locator("#size")).to_have_text("640×480")
    await expect(button(page, "Sound")).to_be_visible()
    await expect(page.locator("#timeline")).to_be_hidden()
    await button(page, "Disconnect").click()


async def test_whoever_has_the_link_watches_and_no_more(page: Page, server: Server, browser: Browser):
    await play(page, server, "Dune crossing")
    await button(page, "Watch link").click()
    await expect(page.get_by_label("Whoever has this link")).to_have_value(re.compile("#watch="))
    link = await page.get_by_label("Whoever has this link").input_value()
    assert "?" not in link, "a token in the query ends up in logs"
    (token,) = parse_qs(urlsplit(link).fragment)["token"]
    (detail,) = jwt.decode(token, options={"verify_signature": False})["authorization_details"]
    assert (detail["role"], len(detail["resources"]["sessions"]["bind"])) == ("viewer", 1)

    viewer = await browser.new_page()
    await viewer.goto(link)
    await expect(viewer.locator("#status")).to_have_text("Live")
    await expect(viewer.locator("#size")).to_have_text("320×192")
    await expect(viewer.locator("#fps")).to_have_text(re.compile(r"^[1-9]\d\.\d$"))
    await expect(clip(viewer, 26)).to_contain_text("walled desert town")
    for name in ("Connect", "Start", "Set shot now", "Load into session", "Watch link"):
        await expect(button(viewer, name)).to_be_hidden()
    assert await viewer.locator(".clip.movable").count() == 0
    assert await viewer.locator("#log").get_by_text("command_error").count() == 0, "it asks for nothing it may not"

    await button(viewer, "Disconnect").click()
    await expect(viewer.locator("#status")).to_have_text("Not connected")
    chunk = int(await page.locator("#session-chunk").inner_text())
    await expect(page.locator("#session-chunk")).to_have_text(str(chunk + 2))


# --- looks


@pytest.mark.parametrize("width", [320, 360, 400])
async def test_a_phone_scrolls_down_only(page: Page, server: Server, width: int):
    await page.set_viewport_size({"width": width, "height": 780})
    await connect(page, server)
    await expect(page.locator("#status")).to_have_text("Live")
    await button(page, "Watch link").click()
    await expect(page.locator("#link")).to_be_visible()
    await clip(page, 8).focus()
    assert await page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_words_can_be_read_in_either_scheme(page: Page, scheme: Any):
    await page.emulate_media(color_scheme=scheme)
    ground = await page.evaluate(LUMINANCE, ["body", "backgroundColor"])
    assert ground > 0.8 if scheme == "light" else ground < 0.05
    for words, behind in (
        (".panel h2", ".panel"),
        ("#opening", "#opening"),
        (".note", ".panel"),
        ("#add-cut", "#add-cut"),
    ):
        one = await page.evaluate(LUMINANCE, [words, "color"])
        other = await page.evaluate(LUMINANCE, [behind, "backgroundColor"])
        assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5, f"{words} on {behind} (WCAG 2.2, 1.4.3)"


LUMINANCE = """([selector, property]) => {
  const channels = getComputedStyle(document.querySelector(selector))[property].match(/[\\d.]+/g).slice(0, 3);
  const linear = channels.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}"""


async def test_everything_is_reached_with_the_keyboard_and_seen_there(page: Page):
    reached: set[str] = set()
    for _ in range(60):
        await page.keyboard.press("Tab")
        name, outline = await page.evaluate(
            "() => [document.activeElement.id || document.activeElement.className, "
            "getComputedStyle(document.activeElement).outlineStyle]"
        )
        if name:
            reached.add(name)
            assert outline != "none", name
    assert {"preset", "seed", "opening", "add-shot", "key", "model", "log", "zoom-out", "clip movable"} <= reached


# --- the strip's arithmetic

LAY_OUT = "async (given) => (await import('/static/studio/clips.js')).layOut(given)"
OPENING = {"kind": "opening", "at": 0, "prompt": "a"}


def beat(number: int, kind: str, at: int) -> dict[str, Any]:
    return {"id": number, "kind": kind, "at": at, "prompt": "b"}


async def lay_out(page: Page, beats: list[dict[str, Any]], chunk: int = 0) -> dict[str, Any]:
    given = {"shots": [OPENING], "beats": beats, "chunk": chunk, "started": chunk > 0}
    return dict(await page.evaluate(LAY_OUT, given))


async def test_a_scene_has_48_chunks_and_nothing_behind_its_end_is_reached(page: Page):
    layout = await lay_out(page, [beat(1, "shot", 20), beat(2, "scene_cut", 48), beat(3, "scene_cut", 97)])
    assert [(scene["at"], scene["until"]) for scene in layout["scenes"]] == [(0, 48), (48, 96)]
    assert [(clip["at"], clip["until"], clip["reached"]) for clip in layout["clips"]] == [
        (0, 20, True), (20, 48, True), (48, 96, True), (97, 98, False),
    ]  # fmt: skip


async def test_a_cut_hides_the_shot_of_its_chunk(page: Page):
    layout = await lay_out(page, [beat(1, "shot", 5), beat(2, "scene_cut", 5)])
    assert [(clip["kind"], clip["hidden"]) for clip in layout["clips"][1:]] == [("scene_cut", True)]


async def test_of_a_long_session_only_a_window_is_drawn(page: Page):
    cuts = [beat(n, "scene_cut", 40 * n) for n in range(1, 60)]
    layout = await lay_out(page, cuts, chunk=1000)
    assert layout["first"] < 1000 < layout["end"] <= layout["first"] + 288
    assert layout["later"] > 0
