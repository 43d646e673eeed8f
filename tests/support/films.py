"""Pictures through a real encoder into a recorder, and files of recordings back into pictures."""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from cluster.media.encoder import Job, VideoCodec, VideoShape, _EncodingSession
from cluster.media.recorder import Recorder
from cluster.settings import MediaSettings
from longlive import stamp
from tests.support.waiting import eventually

WIDTH, HEIGHT, FPS = 192, 96, 24


class Film(NamedTuple):
    """What a player sees: the pictures' numbers and times, and which are keyframes."""

    numbers: list[int | None]
    times: list[float]
    keyframes: list[bool]

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[0] + 1 / FPS


def stamped(first: int, count: int) -> np.ndarray:
    """Numbered pictures that move."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack(
        [np.stack([(x + 3 * n) % 256, (2 * y + n) % 256, (x + y) % 256], -1) for n in range(first, first + count)]
    )
    rgb = rgb.astype(np.uint8)
    stamp.stamp(rgb, first)
    return rgb


def play(data: bytes) -> Film:
    """Demux and decode; the decoder conceals nothing."""
    film = Film([], [], [])
    matrix = VideoReformatter()
    with av.open(BytesIO(data)) as container:
        video = container.streams.video[0]
        video.codec_context.options = {"err_detect": "explode"}
        for frame in container.decode(video):
            rgb = matrix.reformat(frame, format="rgb24", src_colorspace=Colorspace.ITU709, threads=1)
            film.numbers.append(stamp.read(rgb.to_ndarray()))
            film.times.append(frame.time)
            film.keyframes.append(frame.key_frame)
    return film


class Camera:
    """A recorder's feed without clocks or threads: every picture is encoded when it is shown."""

    def __init__(self, recorder: Recorder) -> None:
        shape = VideoShape.of(WIDTH, HEIGHT, FPS, MediaSettings())
        self._recorder = recorder
        self._encoding = _EncodingSession(VideoCodec.H264, shape)
        self.rate = shape.bitrate
        self._shown = 0

    async def show(self, first: int, count: int, *, keyframes: tuple[int, ...] = (), repeat: bool = False) -> None:
        """Pictures by number; `keyframes` are those of them that a viewer has asked a keyframe for."""
        for offset, picture in enumerate(stamped(first, count)):
            self._recorder.take(self._encode(picture, first + offset in keyframes, repeat), repeat=repeat)
            if offset % FPS == 0:  # this is faster than life: give the disk its time
                await eventually(lambda: not self._recorder._waiting)

    def fail(self) -> None:
        """The encoder fails on a picture."""
        self._recorder.due(repeat=False)
        self._recorder.take(None, repeat=False)

    def _encode(self, picture, keyframe, repeat):
        keyframe |= self._recorder.due(repeat=repeat)
        self._shown += 1
        packet = self._encoding.encode(Job(picture, self._shown * 5000, keyframe, repeat), self.rate)
        assert packet is not None
        return packet
