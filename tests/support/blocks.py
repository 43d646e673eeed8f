"""Frame numbers as black and white blocks, readable after any of our codecs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 16
SIDE = 16


def picture(number: int, width: int = 320, height: int = 176) -> NDArray[np.uint8]:
    """A textured picture that moves with its number, stamped with it."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([(x + 3 * number) % 256, (y * 2 + number) % 256, (x + y) % 256], axis=-1).astype(np.uint8)
    for bit in range(BITS):
        rgb[:SIDE, bit * SIDE : (bit + 1) * SIDE] = 255 * (number >> bit & 1)
    return rgb


def pictures(first: int, count: int, width: int = 320, height: int = 176) -> NDArray[np.uint8]:
    return np.stack([picture(first + i, width, height) for i in range(count)])


def number(rgb: NDArray[np.uint8]) -> int:
    return sum(
        (1 << bit) for bit in range(BITS) if rgb[4 : SIDE - 4, bit * SIDE + 4 : (bit + 1) * SIDE - 4].mean() > 127
    )
