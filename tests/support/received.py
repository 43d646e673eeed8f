"""What a client has of one inbound track, and a bad network in front of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

WAIT_S = 20.0

MediaFrame = VideoFrame | AudioFrame


class Received:
    """Frames of one track, decoded. They go to `on_frame`; without it pictures are kept, as RGB, and samples counted.
    `wait` is for whoever needs a number of them."""

    def __init__(self, on_frame: Callable[[MediaFrame], None] | None = None) -> None:
        self.pictures: list[NDArray[np.uint8]] = []
        self.samples = 0
        self.ended = False
        self._on_frame = on_frame or self._keep
        self._changed = asyncio.Event()
        self._reformatter = VideoReformatter()

    async def read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                self._on_frame(await track.recv())
            except MediaStreamError:
                self.ended = True
                return
            finally:
                self._changed.set()

    def _keep(self, frame: MediaFrame) -> None:
        if isinstance(frame, AudioFrame):
            self.samples += frame.samples
            return
        matrix = Colorspace.ITU709 if frame.colorspace == Colorspace.ITU709 else Colorspace.ITU601
        rgb = self._reformatter.reformat(frame, format="rgb24", src_colorspace=matrix, threads=1)
        self.pictures.append(rgb.to_ndarray())

    async def wait(self, condition: Callable[[Received], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()


class BadNetwork:
    """Loses and reorders media packets on their way to a client; data channels and handshakes pass."""

    def __init__(self, loss: float, reorder: float, seed: int = 0) -> None:
        self.loss = loss
        self.reorder = reorder
        self.lost = self.reordered = 0
        self._random = random.Random(seed)

    def wrap(self, receive: Callable[[bytes, int], None]) -> Callable[[bytes, int], None]:
        held: list[bytes] = []

        def received(data: bytes, component: int) -> None:
            is_media = 127 < data[0] < 192 and not 192 <= data[1] <= 208
            if is_media and self._random.random() < self.loss:
                self.lost += 1
                return
            if is_media and not held and self._random.random() < self.reorder:
                self.reordered += 1
                held.append(data)
                return
            receive(data, component)
            if is_media and held:
                receive(held.pop(), component)

        return received
