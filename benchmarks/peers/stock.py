"""Stock aiortc as its documentation has it: one source, a `MediaRelay`, and an encoder in every peer connection.

`python -m benchmarks.peers.stock PORT`. Pictures are made and converted to YUV once, in the relay's task. (Handed over
as RGB they would be converted by every encoder, and as they would share one frame for it, that hangs or crashes.) The
encoders' rate is the one thing that is set: by two constants of a module, for aiortc has no setting for it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from fractions import Fraction

from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import h264, vpx
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from benchmarks.peers.pictures import BITRATE, FPS, picture

CLOCK = 90_000


class Numbered(MediaStreamTrack):
    """The pictures at their rate; late ones are skipped, not made up for."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._began = time.monotonic()

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic() - self._began
        self._number = max(self._number + 1, int(now * FPS))
        await asyncio.sleep(self._number / FPS - now)
        frame = VideoFrame.from_ndarray(picture(self._number), format="rgb24").reformat(format="yuv420p", threads=1)
        frame.pts, frame.time_base = self._number * CLOCK // FPS, Fraction(1, CLOCK)
        return frame


class Stock:
    """One session, whose viewers share the source."""

    def __init__(self) -> None:
        self._relay = MediaRelay()
        self._source: Numbered | None = None
        self._peers: set[RTCPeerConnection] = set()

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self.health),
                web.post("/session", self.open),
                web.post("/offer", self.offer),
                web.delete("/session", self.close),
            ]
        )
        return app

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def open(self, _: web.Request) -> web.Response:
        self._source = Numbered()
        return web.json_response({})

    async def offer(self, request: web.Request) -> web.Response:
        assert self._source is not None
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peers.add(peer)
        peer.addTrack(self._relay.subscribe(self._source, buffered=False))
        await peer.setRemoteDescription(RTCSessionDescription((await request.json())["sdp_offer"], "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return web.json_response({"sdp_answer": peer.localDescription.sdp})

    async def close(self, _: web.Request) -> web.Response:
        for peer in self._peers:
            await peer.close()
        self._peers.clear()
        if self._source is not None:
            self._source.stop()
        return web.json_response({})


def main() -> None:
    for codec in (h264, vpx):
        codec.DEFAULT_BITRATE = codec.MAX_BITRATE = BITRATE
    picture(0)
    web.run_app(Stock().app(), host="127.0.0.1", port=int(sys.argv[1]), print=None)


if __name__ == "__main__":
    main()
