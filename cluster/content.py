"""What a file is, by its bytes. Names and claimed types are not looked at.

Pictures are decoded once, whole, so that nothing later meets one that is broken, and only after their header has been
found to be within bounds: a picture of few bytes may have a great many pixels.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Collection
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from cluster.errors import UnsupportedMedia

MAX_PIXELS = 80_000_000
"""The most that the settings may allow, and what Pillow itself is held to in this process."""

Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)  # up to twice that Pillow would only warn

_PICTURES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF"}
_TYPES = {name: mime for mime, name in _PICTURES.items()} | {"MPO": "image/jpeg"}  # several JPEGs in one: many cameras'
TEXT = "text/plain"
KNOWN_TYPES = (*_PICTURES, TEXT)

_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError)
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    AttributeError,
    struct.error,
    zlib.error,
)
"""What Pillow's parsers raise for bytes that are not what they began as."""


def identify(file: BinaryIO, allowed: Collection[str], max_pixels: int) -> str:
    """The MIME type of a file, one of `allowed`. Takes as long as decoding a picture of `max_pixels`.

    Raises:
        UnsupportedMedia: it is none of them, is broken, or has too many pixels.
    """
    pictures = [name for mime, name in _PICTURES.items() if mime in allowed]
    found = _picture(file, pictures, max_pixels) if pictures else None
    if found is not None:
        return found
    if TEXT in allowed and _is_text(file):
        return TEXT
    raise UnsupportedMedia(f"the file is none of {', '.join(sorted(allowed))}")


def _picture(file: BinaryIO, formats: list[str], max_pixels: int) -> str | None:
    """The MIME type, None if the file does not begin like one of the formats."""
    try:
        file.seek(0)
        with Image.open(file, formats=formats) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnsupportedMedia(f"the picture has more than {max_pixels} pixels")
            image.verify()
        file.seek(0)
        with Image.open(file, formats=formats) as image:  # `verify` leaves nothing to read
            image.load()
            return _TYPES[image.format or ""]
    except UnidentifiedImageError:
        return None
    except _BOMB:
        raise UnsupportedMedia(f"the picture has more than {max_pixels} pixels") from None
    except _BROKEN:
        raise UnsupportedMedia("the picture is broken") from None


def _is_text(file: BinaryIO) -> bool:
    """UTF-8 without control characters other than white space."""
    try:
        file.seek(0)
        text = file.read().decode()
    except UnicodeDecodeError:
        return False
    return not any(ord(char) < 32 and char not in "\t\n\r\f" for char in text)
