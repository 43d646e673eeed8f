"""A video track that a client publishes."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
from aiortc import MediaStreamTrack
from av import VideoFrame


class Webcam(MediaStreamTrack):
    """A picture of one grey, ten times a second."""

    kind = "video"

    def __init__(self, shade: int = 0) -> None:
        super().__init__()
        self._rgb = np.full((120, 160, 3), shade, np.uint8)
        self._count = 0

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(0.1)
        frame = VideoFrame.from_ndarray(self._rgb)
        frame.pts, frame.time_base = self._count * 9000, Fraction(1, 90_000)
        self._count += 1
        return frame
