"""Picture files, good and bad, for uploads."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image


def encoded(rgb: np.ndarray, kind: str = "PNG") -> bytes:
    """A picture's file."""
    file = BytesIO()
    Image.fromarray(rgb).save(file, kind)
    return file.getvalue()


def noise(kind: str = "PNG", size: tuple[int, int] = (48, 32)) -> bytes:
    """The file of a picture that hardly compresses; width and height in pixels."""
    width, height = size
    return encoded(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8), kind)


def png(width: int, height: int, *, rows: int | None = None) -> bytes:
    """A black PNG of one bit a pixel, by hand: it may claim to be as large as it likes. `rows` are really there."""
    line = b"\0" + bytes((width + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(line) for _ in range(height if rows is None else rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _part(b"IHDR", header) + _part(b"IDAT", data) + _part(b"IEND", b"")


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
