"""Which protocol a connection speaks."""

from __future__ import annotations

import pytest

from wire import V0, V1, Codec, codec_for_client, codec_for_first_frame
from wire.http import ClientInfo

pytestmark = pytest.mark.fast

PLAIN = "v=0\r\ns=-\r\na=group:BUNDLE 0 1\r\n"
CHUNKING = PLAIN + "a=x-reactor-dc-chunking:1 max-message-size=67108864\r\n"


@pytest.mark.parametrize(
    ("payload", "codec"),
    [
        ("anything that is text", V0),
        ("", V0),
        (b'{"type":"start"}', V0),
        (b" \r\n\t[", V0),
        (b"\x10\x03\x52\x00", V1),
        (b"\x0a\x06ctrl_1\x10\x01\x5a\x00", V1),
        (b"", V1),
    ],
)
def test_by_the_first_frame(payload: str | bytes, codec: Codec) -> None:
    assert codec_for_first_frame(payload) is codec


@pytest.mark.parametrize(
    ("sdk_type", "version", "offer", "codec"),
    [
        ("js", "2.9.0", PLAIN, V0),
        ("js", "2.12.3", PLAIN, V0),
        ("js", "3.0.0", PLAIN, None),
        ("js", "2.12.3", CHUNKING, V1),
        ("python", "0.8.0", PLAIN, V0),
        ("python", "1.13.0", PLAIN, None),
        ("python", "1.13.0", CHUNKING, V1),
        ("wasm", "2.0.0", PLAIN, None),
        ("js", "20.1.0", PLAIN, None),
        ("", "", PLAIN, None),
        ("js", "", PLAIN, None),
        ("", "", CHUNKING, V1),
        ("python", "1.0.0", PLAIN + "a=note:a=x-reactor-dc-chunking\r\n", None),
    ],
)
def test_by_the_offer(sdk_type: str, version: str, offer: str, codec: Codec | None) -> None:
    assert codec_for_client(ClientInfo(sdk_type=sdk_type, sdk_version=version), offer) is codec
