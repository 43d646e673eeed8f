"""A published client that watches `benchmarks.pictures` for a while: a process of its own, in a network of its own.

Prints one JSON object: `seen`, each picture's time in s and number, and what the client itself counted, if it counts.
The native SDK hands over every picture that it has decoded; of Chromium's, those that the page was shown are read.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from playwright.async_api import async_playwright
from reactor_sdk import Reactor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "clients"))
from js290.drive import DIST, FLAGS
from pages import served
from scenario import CHROMIUM

from benchmarks.pictures import NAME
from tests.support import blocks
from tests.support.stretch import WIDTH

AFTER_S = 1.0
"""What is still on the way."""
SMALL = 4
"""The page reads the strip of numbers this much smaller."""
KEEP_PEERS = """
window.peers = [];
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer { constructor(...given) { super(...given); peers.push(this); } };
"""
COUNTED = ("framesDecoded", "framesDropped", "freezeCount", "totalFreezesDuration", "packetsLost", "nackCount")
STATISTICS = """async (names) => {
  for (const [, entry] of await peers.at(-1).getStats())
    if (entry.type === "inbound-rtp" && entry.kind === "video")
      return Object.fromEntries(names.map((name) => [name, entry[name]]));
}"""


class Seen:
    """Pictures with the times at which they came; `first` is set by the first of them."""

    def __init__(self) -> None:
        self.at: list[tuple[float, int]] = []
        self.first = asyncio.Event()
        self._enough = False
        self._loop = asyncio.get_running_loop()

    def add(self, number: int) -> None:
        """A picture is there. From any thread."""
        if self._enough:
            return  # of a page that goes black when its track ends
        self.at.append((time.monotonic(), number))
        if len(self.at) == 1:
            self._loop.call_soon_threadsafe(self.first.set)

    async def enough(self, seconds: float) -> None:
        """Return when so much time has gone since the first."""
        await self.first.wait()
        await asyncio.sleep(seconds + AFTER_S)
        self._enough = True


async def sdk(url: str, key: str, seconds: float, seen: Seen) -> dict[str, Any]:
    """`reactor-sdk` 1.13.0."""

    def look(rgb: NDArray[np.uint8]) -> None:
        seen.add(blocks.number(rgb))

    with closing(Reactor(NAME, api_key=key, api_url=url)) as reactor:
        reactor.track("main_video").on_frame(look)
        await reactor.connect()
        await seen.enough(seconds)
        await reactor.disconnect()
    return {}


async def chromium(url: str, key: str, seconds: float, seen: Seen) -> dict[str, Any]:
    """`@reactor-team/js-sdk` 2.9.0 in headless Chromium; returns its statistics of the track."""
    region = {"rows": blocks.SIDE, "size": [WIDTH // SMALL, blocks.SIDE // SMALL]}

    def emit(event: dict[str, Any]) -> None:
        if event["event"] == "frame":
            seen.add(_number(event["region"], event["pixels"]))

    with served(DIST) as origin:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            page = await browser.new_page()
            await page.add_init_script(KEEP_PEERS)
            await page.expose_function("emit", emit)
            await page.goto(origin)
            where = {"url": url, "apiKey": key, "model": NAME, "region": region}
            await page.evaluate("where => client.connect(where)", where)
            await seen.enough(seconds)
            counted: dict[str, Any] = await page.evaluate(STATISTICS, COUNTED)
            await page.evaluate("() => client.disconnect()")
            await browser.close()
    return counted


def _number(size: list[int], pixels: str) -> int:
    rgba = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(size[1], size[0], 4)
    return blocks.number(rgba[..., :3].repeat(SMALL, axis=0).repeat(SMALL, axis=1))


async def watch(client: str, url: str, key: str, seconds: float) -> None:
    """Watch and tell."""
    seen = Seen()
    counted = await {"sdk": sdk, "chromium": chromium}[client](url, key, seconds, seen)
    sys.stdout.write(json.dumps({"seen": seen.at, "counted": counted}))


def main(client: str, url: str, key: str, seconds: Annotated[float, typer.Argument()]) -> None:
    """Watch for so long."""
    asyncio.run(watch(client, url, key, seconds))


if __name__ == "__main__":
    typer.run(main)
