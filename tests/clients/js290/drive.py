"""`@reactor-team/js-sdk` 2.9.0 in headless Chromium as a script; see `scenario` for what it prints.

The bundle (`npm ci && npm run build` in this folder) is served from an origin of its own, so every call to the server
is a cross-origin one. The page reads pictures back from its `<video>` through a canvas; the numbers in them are read
here. The webcam of the `echo` scenario is Chromium's own, fed from a file.
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, async_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import served
from scenario import CHROMIUM, ClientFailed, Event, Log, Look, frame_reader, main, webcam_picture

DIST = Path(__file__).parent / "dist"
FLAGS = (
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
STRIP_REGION = {"rows": 32, "size": [320, 32]}
"""What the page reads of a `longlive-v2` picture: its top rows, pixel by pixel."""

HALVES_REGION = {"rows": None, "size": [32, 24]}
"""What it reads of an `echo` picture: all of it, scaled down."""


class Js290:
    """The page, driven by its `client` object."""

    def __init__(self, args: argparse.Namespace, log: Log, page: Page) -> None:
        self._args = args
        self._log = log
        self._page = page
        self._look = frame_reader(args.model)

    def emit(self, event: Event) -> None:
        """Take an event of the page; pixels become what the scenario wants to know of them."""
        name = event.pop("event")
        if name == "frame":
            event = _seen(self._look, **event)
        self._log.write(name, **event)

    async def connect(self) -> str:
        """Connect until `ready`; returns the session id."""
        region = HALVES_REGION if self._args.model == "echo" else STRIP_REGION
        where = {"url": self._args.url, "apiKey": self._args.api_key, "model": self._args.model, "region": region}
        return await self._call("connect", where)

    async def send(self, command: str, data: dict[str, Any]) -> None:
        """Send a command; this protocol has no reply."""
        await self._call("send", command, data)

    async def send_file(self, command: str, argument: str, data: bytes, name: str) -> None:
        """Upload a PNG and send a command with it."""
        await self._call("sendFile", command, argument, base64.b64encode(data).decode(), name)

    async def publish(self) -> None:
        """Publish the fake webcam."""
        await self._call("publish")

    async def unpublish(self) -> bool:
        """There is no channel to say so on."""
        return False

    async def rest(self) -> bool:
        """There is none for this either."""
        return False

    async def reconnect(self) -> None:
        """A new peer on the flat path."""
        await self._call("reconnect")

    async def adopt(self) -> bool:
        """This version opens sessions only."""
        return False

    async def schema(self) -> None:
        """This version never asks."""

    async def disconnect(self) -> None:
        """Disconnect; deletes the session."""
        await self._call("disconnect")

    async def _call(self, verb: str, *arguments: Any) -> Any:
        try:
            return await self._page.evaluate("([verb, ...rest]) => client[verb](...rest)", [verb, *arguments])
        except PlaywrightError as error:
            raise ClientFailed(f"{verb}: {error.message}") from error


def _seen(look: Look, size: list[int], region: list[int], pixels: str) -> Event:
    """What there is to know of a picture of which only the pixels of `region` (width, height) were read."""
    rgba = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(region[1], region[0], 4)
    return {**look(rgba[..., :3]), "size": size}


@asynccontextmanager
async def open_client(args: argparse.Namespace, log: Log) -> AsyncIterator[Js290]:
    """A page with the SDK in a browser of its own."""
    with tempfile.TemporaryDirectory() as scratch, served(DIST) as origin:
        webcam = Path(scratch) / "webcam.y4m"
        webcam.write_bytes(_y4m(webcam_picture()))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=[*FLAGS, f"--use-file-for-fake-video-capture={webcam}"]
            )
            context = await browser.new_context(permissions=["camera"])
            page = await context.new_page()
            client = Js290(args, log, page)
            page.on("pageerror", lambda error: log.write("error", code="page", message=str(error)))
            await page.expose_function("emit", client.emit)
            await page.goto(origin)
            yield client
            await browser.close()


def _y4m(rgb: np.ndarray) -> bytes:
    """A one-frame Y4M file (4:2:0) of a uint8 [h, w, 3] picture of greys; Chromium plays it in a loop."""
    height, width, _ = rgb.shape
    luma = (16 + rgb[..., 0].astype(np.float32) * 219 / 255).astype(np.uint8)
    chroma = np.full(height * width // 2, 128, np.uint8)
    return b"YUV4MPEG2 W%d H%d F24:1 Ip A1:1 C420\nFRAME\n" % (width, height) + luma.tobytes() + chroma.tobytes()


if __name__ == "__main__":
    main(open_client)
