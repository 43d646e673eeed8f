"""The page at `/` in Chromium, used as a person would: connect, prompt, start, watch, leave."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, async_playwright, expect
from scenario import CHROMIUM

from tests.support.server import Server

pytestmark = pytest.mark.clients

WAIT_MS = 40_000
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]


@pytest.fixture
def browser_path() -> str:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is missing: `make clients` installs it", pytrace=False)
    return CHROMIUM


@pytest.fixture
async def page(server: Server, browser_path: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = await browser.new_page(base_url=server.url)
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        await page.goto("/")
        yield page
        await browser.close()
        assert not failures


async def test_plays_what_it_is_told(page: Page, server: Server):
    await page.get_by_label("API key or token").fill(server.api_key)
    await page.get_by_label("Model").select_option("longlive-v2")
    await page.get_by_role("button", name="Connect", exact=True).click()
    await expect(page.locator("#status")).to_have_text("Live")

    await page.get_by_label("Prompt").fill("a red dune")
    await page.get_by_role("button", name="Set shot").click()
    await page.get_by_role("button", name="Start").click()
    await expect(page.locator("#session-chunk")).to_have_text(re.compile(r"[2-9]"))
    await expect(page.locator("#current-prompt")).to_have_text("a red dune")
    await expect(page.locator("#size")).to_have_text("320×192")
    await expect(page.locator("#fps")).to_have_text(re.compile(r"^2\d\.\d fps$"))

    await page.get_by_label("Prompt").fill("")
    await page.get_by_role("button", name="Scene cut").click()
    await expect(page.get_by_role("alert")).to_contain_text("scene_cut failed: prompt is empty")

    await page.get_by_role("button", name="Reset").click()
    await expect(page.locator("#playing")).to_have_text("stopped")
    await page.get_by_role("button", name="Disconnect").click()
    await expect(page.locator("#status")).to_have_text("Not connected")


async def test_waits_for_the_models_before_it_lets_anyone_connect(page: Page):
    asked, answer = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        asked.set()
        await answer.wait()
        await route.continue_()

    await page.route("**/ready", late)
    await page.reload()
    await asked.wait()
    connect = page.get_by_role("button", name="Connect", exact=True)
    await expect(connect).to_be_disabled()
    answer.set()
    await expect(connect).to_be_enabled()


async def test_says_what_is_wrong_with_a_key(page: Page):
    await page.get_by_label("API key or token").fill("rk_wrong")
    await page.get_by_role("button", name="Connect", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("invalid_api_key")
