"""What clients publish: the newest picture of a video track, the samples since the last look of an audio track."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame
from av.frame import Frame
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

MAX_AUDIO_S = 2.0
"""Samples that nobody takes are kept for this long."""


class Inbound(ABC):
    """Reads a remote track while started. Base of the two kinds."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self._track = track
        self._reader: asyncio.Task[None] | None = None
        self._stopped: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to read."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())

    def stop(self) -> None:
        """End reading and forget what was read."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            self._stopped.add(reader)
            reader.add_done_callback(self._stopped.discard)
        self.forget()

    async def ended(self) -> None:
        """Wait until nothing reads any more, after `stop`."""
        if self._stopped:
            await asyncio.wait(self._stopped)

    async def _read(self) -> None:
        while True:
            try:
                frame = await self._track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, Frame)
            self.keep(frame)

    @abstractmethod
    def keep(self, frame: Frame) -> None:
        """Take a decoded frame."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what is kept."""


class InboundVideo(Inbound):
    """Keeps the newest picture only; `take` may be called from any one thread."""

    def __init__(self, track: MediaStreamTrack) -> None:
        super().__init__(track)
        self._frame: VideoFrame | None = None
        self._reformatter = VideoReformatter()
        self._converted: tuple[VideoFrame, NDArray[np.uint8]] | None = None

    def keep(self, frame: Frame) -> None:
        """Replace the newest picture."""
        assert isinstance(frame, VideoFrame)
        self._frame = frame

    def forget(self) -> None:
        """Drop the picture."""
        self._frame = self._converted = None

    def take(self) -> NDArray[np.uint8] | None:
        """The newest picture, RGB uint8 [height, width, 3]; None before the first."""
        frame = self._frame
        if frame is None:
            return None
        converted = self._converted
        if converted is None or converted[0] is not frame:
            converted = self._converted = (frame, self._rgb(frame))
        return converted[1]

    def _rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        # Cameras arrive as BT.601 unless the stream says otherwise.
        matrix = Colorspace.ITU709 if frame.colorspace == Colorspace.ITU709 else Colorspace.ITU601
        rgb = self._reformatter.reformat(frame, format="rgb24", src_colorspace=matrix, threads=1)
        return rgb.to_ndarray().astype(np.uint8, copy=False)


class InboundAudio(Inbound):
    """Keeps the samples since the last look, the newest `MAX_AUDIO_S` of them."""

    def __init__(self, track: MediaStreamTrack) -> None:
        super().__init__(track)
        self._blocks: deque[NDArray[np.int16]] = deque()
        self._rate = 48_000

    def keep(self, frame: Frame) -> None:
        """Append a decoded block."""
        assert isinstance(frame, AudioFrame)
        self._rate = frame.sample_rate
        channels = len(frame.layout.channels)
        self._blocks.append(frame.to_ndarray().reshape(-1, channels).astype(np.int16, copy=False))
        while sum(len(block) for block in self._blocks) > MAX_AUDIO_S * self._rate:
            self._blocks.popleft()

    def forget(self) -> None:
        """Drop the samples."""
        self._blocks.clear()

    def take(self) -> tuple[NDArray[np.int16], int] | None:
        """Samples since the last call, int16 [n, channels], and their rate; None where there are none."""
        blocks: list[NDArray[np.int16]] = []
        while self._blocks:
            blocks.append(self._blocks.popleft())
        same = [block for block in blocks if block.shape[1] == blocks[-1].shape[1]]
        return (np.concatenate(same), self._rate) if same else None
