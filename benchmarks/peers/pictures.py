"""The pictures that every contestant shows: a camera moving over a texture with light grain, numbered and timed.

Three strips of black and white blocks in the top left corner hold the picture's number, the millisecond of the
monotonic clock at which it was made (both modulo 65536), and a check of the two. Servers and clients share that clock,
being on one machine, so a client can tell a picture's age. Numpy only: one of the servers has little else.
"""

from __future__ import annotations

import math
import time
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.support import blocks

WIDTH, HEIGHT, FPS = 640, 352, 24
BITRATE = 1_000_000
"""What everyone may send to a viewer, in bit/s: the cluster's default for this size."""
LOOP = 48
"""Pictures until the camera is back where it was. They are made once: a picture then costs little more than a copy."""
MODULUS = 1 << blocks.BITS
CHECK = 0xA5A5
"""Keeps a black picture, which some servers begin with, from being read as the number 0."""
_STRIP = blocks.BITS * blocks.SIDE
_CANVAS = (HEIGHT + 128, WIDTH + 256)
_SMOOTH = 32


class Mark(NamedTuple):
    """What is written into a picture."""

    number: int
    made_ms: int

    def age_ms(self, now_s: float) -> int:
        """Milliseconds since the picture was made, at `now_s` of `time.monotonic`."""
        return (int(now_s * 1000) - self.made_ms) % MODULUS


def picture(number: int) -> NDArray[np.uint8]:
    """The picture of that number, made now: uint8 [HEIGHT, WIDTH, 3]."""
    rgb = _loop()[number % LOOP].copy()
    first, second = number % MODULUS, int(time.monotonic() * 1000) % MODULUS
    for row, word in enumerate((first, second, first ^ second ^ CHECK)):
        rgb[row * blocks.SIDE : (row + 1) * blocks.SIDE, :_STRIP] = blocks.picture(word, _STRIP, blocks.SIDE)
    return rgb


def mark(luma: NDArray[np.uint8]) -> Mark | None:
    """What is written into a decoded picture, by its luma [height, at least width]; None where it cannot be trusted."""
    first, second, check = (blocks.number(luma[row * blocks.SIDE : (row + 1) * blocks.SIDE]) for row in range(3))
    return Mark(first, second) if first ^ second ^ CHECK == check else None


@cache
def _loop() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    canvas = _texture(random)
    grain = random.integers(0, 12, (17, HEIGHT, WIDTH, 3), dtype=np.uint8)
    pictures = []
    for n in range(LOOP):
        angle = 2 * math.pi * n / LOOP
        x, y = int(127 * (1 + math.sin(angle))), int(63 * (1 + math.cos(angle)))
        pictures.append(canvas[y : y + HEIGHT, x : x + WIDTH] // 4 * 3 + grain[n % len(grain)])
    return pictures


def _texture(random: np.random.Generator) -> NDArray[np.uint8]:
    """Noise, made smooth by a moving average along both sides."""
    height, width = (-(-side // _SMOOTH) + 2 for side in _CANVAS)
    rough = random.integers(0, 256, (height, width, 3)).repeat(_SMOOTH, axis=0).repeat(_SMOOTH, axis=1)
    for axis in (0, 1):
        total = rough.cumsum(axis=axis)
        ahead, behind = (np.take(total, range(*ends), axis=axis) for ends in _window(total.shape[axis]))
        rough = (ahead - behind) // _SMOOTH
    return rough[: _CANVAS[0], : _CANVAS[1]].astype(np.uint8)


def _window(length: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (_SMOOTH, length), (0, length - _SMOOTH)
