"""Makes docs/images/studio-*.png: starts a cluster, plays a storyboard in the studio, edits it, looks at it.

.venv/bin/python tests/clients/studio_pictures.py
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.async_api import Page, async_playwright, expect

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from scenario import CHROMIUM  # noqa: E402

from tests.support.server import Server  # noqa: E402

FOLDER = ROOT / "docs" / "images"
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
WAIT_MS = 60_000
MAX_BYTES = 200_000


async def main() -> None:
    """Both desktops show a beat selected in a running storyboard, the phone its first screens."""
    expect.set_options(timeout=WAIT_MS)
    with Server.start() as server:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page(base_url=server.url, viewport=DESKTOP)
            await _play(page, server)
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme)
                await _picture(page, f"studio-{scheme}.png")
            await page.emulate_media(color_scheme="light")
            await page.set_viewport_size(PHONE)
            await _picture(page, "studio-phone.png", clip={"x": 0, "y": 0, **PHONE, "height": 1100}, full_page=True)
            await browser.close()


async def _play(page: Page, server: Server) -> None:
    await page.goto(f"/#key={server.api_key}")
    await page.get_by_label("Preset").select_option("Pursuit")
    await page.get_by_role("button", name="Connect", exact=True).click()
    await expect(page.locator("#status")).to_have_text("Live", timeout=WAIT_MS)
    await page.get_by_role("button", name="Start").click()
    await expect(page.locator("#session-chunk")).to_have_text(re.compile("^6"))
    await page.locator('.clip[data-at="12"]').focus()


async def _picture(page: Page, name: str, **options: Any) -> None:
    """As a PNG with 6 bits a channel: the noise in the bits below is most of a picture of a video."""
    await expect(page.locator("#fps")).to_have_text(re.compile(r"^2\d\.\d$"))
    full = Image.open(io.BytesIO(await page.screenshot(**options))).convert("RGB")
    path = FOLDER / name
    ImageOps.posterize(full, 6).save(path, optimize=True)
    assert path.stat().st_size < MAX_BYTES, f"{name} has {path.stat().st_size} bytes"


if __name__ == "__main__":
    asyncio.run(main())
