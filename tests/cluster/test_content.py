"""What a file is, by its bytes."""

from __future__ import annotations

import random
import struct
import zlib
from contextlib import suppress
from io import BytesIO

import pytest

from cluster.content import KNOWN_TYPES, MAX_PIXELS, identify
from cluster.errors import UnsupportedMedia
from cluster.settings import UploadSettings
from tests.support.pictures import noise, png

pytestmark = pytest.mark.fast

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def found(data: bytes, allowed=KNOWN_TYPES, max_pixels: int = 100_000) -> str:
    return identify(BytesIO(data), allowed, max_pixels)


@pytest.mark.parametrize(("kind", "mime_type"), KINDS.items())
def test_a_picture_is_known_by_its_bytes(kind: str, mime_type: str):
    assert found(noise(kind)) == mime_type
    with pytest.raises(UnsupportedMedia):
        found(noise(kind), [other for other in KINDS.values() if other != mime_type])


def test_text_is_text_only_if_it_is():
    assert found("Grüße\n\tan alle".encode()) == "text/plain"
    for data in (b"\xff\xfe", b"nul\0", noise()[8:], b"\x7fELF\x02\x01\x01\0"):
        with pytest.raises(UnsupportedMedia):
            found(data)
    with pytest.raises(UnsupportedMedia):
        found(b"<svg onload=...>", ["image/png"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [0.3, 0.7, 0.95])
def test_a_picture_that_ends_early_is_broken(kind: str, keep: float):
    data = noise(kind)
    with pytest.raises(UnsupportedMedia, match="broken"):
        found(data[: int(keep * len(data))])


@pytest.mark.parametrize(
    "size", [(400, 251), (60_000, 30_000), (2**31 - 1, 2**31 - 1), (MAX_PIXELS, 2), (MAX_PIXELS, 1)]
)
def test_a_picture_with_more_pixels_than_allowed_is_never_decoded(size: tuple[int, int]):
    with pytest.raises(UnsupportedMedia, match="100000 pixels"):
        found(png(*size, rows=0))


def test_the_pixel_limit_is_exact():
    assert found(png(400, 250)) == "image/png"


def test_a_bomb_in_a_text_of_a_picture_is_found():
    header, rest = noise()[:33], noise()[33:]
    text = b"zTXt" + b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    part = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    with pytest.raises(UnsupportedMedia):
        found(header + part + rest)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_changed_at_random_are_a_picture_or_refused(kind: str):
    data, rng = noise(kind), random.Random(1)
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(rng.choice([1, 3, 30])):
            changed[rng.randrange(8, rng.choice([64, len(changed)]))] = rng.randrange(256)
        with suppress(UnsupportedMedia):
            assert found(bytes(changed)) in KNOWN_TYPES


def test_the_settings_take_no_type_that_cannot_be_checked(monkeypatch: pytest.MonkeyPatch):
    assert set(UploadSettings().types) <= set(KNOWN_TYPES)
    assert UploadSettings.model_validate({"types": KNOWN_TYPES}).types == set(KNOWN_TYPES)
    with pytest.raises(ValueError, match="types"):
        UploadSettings.model_validate({"types": ["image/svg+xml"]})
    with pytest.raises(ValueError, match="max_pixels"):
        UploadSettings(max_pixels=MAX_PIXELS + 1)
