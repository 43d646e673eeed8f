"""Which protocol a connection speaks.

All clients send the same version header, so the first inbound frame decides, and is binding for both directions. What
the server wants to say before it has come would be lost in the wrong protocol; for clients known by their offer the
answer is had at once, for others outbound messages wait.
"""

from __future__ import annotations

import re

from wire.codec import Codec
from wire.http import ClientInfo
from wire.v0 import JsonCodec
from wire.v1 import ProtobufCodec

V0: Codec = JsonCodec()
V1: Codec = ProtobufCodec()

# A v1 frame may begin with 0x0A as well (its request id's tag), but then `{` is an id of 123 characters; ids are short.
_BLANK = b" \t\r\n"
_JSON_START = (b"{", b"[")
_V1_OFFER = re.compile(r"^a=x-reactor-dc-chunking\b", re.MULTILINE)
_V0_SDKS = {("js", "2"), ("python", "0")}


def codec_for_first_frame(payload: str | bytes) -> Codec:
    """The codec of a connection, by the first frame that came in on any of its channels."""
    if isinstance(payload, str) or payload.lstrip(_BLANK).startswith(_JSON_START):
        return V0
    return V1


def codec_for_client(client_info: ClientInfo, sdp_offer: str) -> Codec | None:
    """The codec of a connection, by its offer; None where only the first frame will tell.

    Chunking of data-channel messages is offered by speakers of v1 alone. It is looked at first, for not every SDK that
    calls itself `js` speaks v0.
    """
    if _V1_OFFER.search(sdp_offer):
        return V1
    major = client_info.sdk_version.partition(".")[0]
    return V0 if (client_info.sdk_type, major) in _V0_SDKS else None
