"""What flows between an engine and the media path. No tensors, no WebRTC: arrays in host memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class VideoFrames:
    """Consecutive pictures of one track: `rgb` is uint8 [n, height, width, 3]."""

    track: str
    rgb: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class AudioSamples:
    """Consecutive samples of one track: `pcm` is int16 [n, channels] at `rate` Hz."""

    track: str
    pcm: NDArray[np.int16]
    rate: int


Media = VideoFrames | AudioSamples

Inputs = Mapping[str, Media]
"""What clients publish, by track: the newest picture of a video track, the samples since the last look of an audio
track. A track nobody publishes is absent."""
