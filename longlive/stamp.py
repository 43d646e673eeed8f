"""A frame number that survives a video codec: a strip of black and white blocks in the top left corner.

    sync 1010 | number, 16 bits, high first | its CRC, 4 bits

The blocks form two rows of twelve, 16 wide and 8 high at 320x192 and proportionally larger in larger pictures. Numpy
only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS = 12, 2
MODULUS = 1 << 16
SYNC = 0b1010
BASE_WIDTH = 320
CONTRAST = 48
"""Luma steps that must lie between the darkest white and the brightest black block."""


def block(width: int) -> tuple[int, int]:
    """Height and width of a block in pixels: 8 and 16 per 320 pixels of picture width, in whole multiples."""
    scale = max(1, width // BASE_WIDTH)
    return 8 * scale, 16 * scale


def stamp(rgb: NDArray[np.uint8], first: int) -> None:
    """Write `first`, `first + 1`, ... (mod 65536) into pictures [n, height, width, 3], in place."""
    size = block(rgb.shape[2])
    for offset, picture in enumerate(rgb):
        strip = np.kron(_blocks((first + offset) % MODULUS), np.full(size, 255, np.uint8))
        picture[: strip.shape[0], : strip.shape[1]] = strip[..., None]


def read(rgb: NDArray[np.uint8]) -> int | None:
    """The number in one picture [height, width, 3]; None where there is none or it cannot be trusted."""
    height, width = block(rgb.shape[1])
    strip = rgb[: ROWS * height, : COLUMNS * width].mean(axis=2)
    if strip.shape != (ROWS * height, COLUMNS * width):
        return None
    inner = (slice(None), slice(height // 4, -(height // 4)), slice(None), slice(width // 4, -(width // 4)))
    cells = strip.reshape(ROWS, height, COLUMNS, width)[inner].mean(axis=(1, 3))
    dark, bright = cells[cells < 128], cells[cells >= 128]
    if not len(dark) or not len(bright) or bright.min() - dark.max() < CONTRAST:
        return None
    word = int("".join("1" if cell >= 128 else "0" for cell in cells.flat), 2)
    sync, number, check = word >> 20, word >> 4 & 0xFFFF, word & 0xF
    return number if (sync, check) == (SYNC, _check(number)) else None


def _blocks(number: int) -> NDArray[np.uint8]:
    """[2, 12] of zeros and ones."""
    word = SYNC << 20 | number << 4 | _check(number)
    bits = [word >> place & 1 for place in reversed(range(ROWS * COLUMNS))]
    return np.array(bits, np.uint8).reshape(ROWS, COLUMNS)


def _check(number: int) -> int:
    """CRC-4 (x^4 + x + 1, initial 0xF) of the 16 bits: finds every burst of up to four wrong blocks."""
    crc = 0xF
    for place in reversed(range(16)):
        carry = crc >> 3 ^ number >> place & 1
        crc = (crc << 1 & 0xF) ^ (0b0011 if carry else 0)
    return crc
