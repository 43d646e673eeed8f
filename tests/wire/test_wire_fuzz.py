"""Whatever comes in, a codec gives a message or a FrameError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.client_frames import write_v0, write_v1
from tests.wire.wire_strategies import json_values, v0_client, v1_client
from wire import MAX_DEPTH, MAX_FRAME_BYTES, V0, V1, Channel, Codec, Frame, FrameError, codec_for_first_frame
from wire import reactor_wire_pb2 as pb

pytestmark = pytest.mark.fast

channels = st.sampled_from(Channel)
any_text = st.text(st.characters(codec=None)) | st.text(st.characters(categories=["Cs", "Lu"]))
words = st.sampled_from(
    [
        "scope",
        "data",
        "type",
        "application",
        "runtime",
        "request",
        "notification",
        "event",
        "method",
        "request_id",
        "publish_track",
        "resume_track",
        "requestClip",
        "duration_seconds",
        "fileUploaded",
        "uploads",
        "name",
        "size",
    ]
)
# JSON of the right words in the wrong places.
near_misses = st.recursive(
    words | json_values,
    lambda inner: st.dictionaries(words, inner, max_size=5) | st.lists(inner, max_size=2),
    max_leaves=10,
)


def read(codec: Codec, channel: Channel, payload: str | bytes) -> None:
    """Decode; a refusal that comes of it can be sent."""
    try:
        codec.decode(Frame(channel, payload))
    except FrameError as error:
        if error.refusal is not None:
            codec.encode(error.refusal)


@settings(deadline=None)
@given(channels, any_text | st.binary())
def test_noise(channel: Channel, payload: str | bytes) -> None:
    read(V0, channel, payload)
    read(V1, channel, payload)
    codec_for_first_frame(payload)


@settings(deadline=None)
@given(channels, near_misses)
def test_json_that_is_almost_right(channel: Channel, document: object) -> None:
    read(V0, channel, json.dumps(document))


@settings(deadline=None)
@given(v0_client, st.data())
def test_a_v0_frame_with_a_hole(message: object, data: st.DataObject) -> None:
    channel, payload = write_v0(message)
    at = data.draw(st.integers(0, len(payload)))
    read(V0, channel, payload[:at] + data.draw(any_text) + payload[at + 1 :])


@settings(deadline=None)
@given(v1_client, st.data())
def test_a_v1_frame_with_a_hole(message: object, data: st.DataObject) -> None:
    channel, payload = write_v1(message)
    at = data.draw(st.integers(0, len(payload)))
    read(V1, channel, payload[:at] + data.draw(st.binary(max_size=4)) + payload[at + 1 :])


@pytest.mark.parametrize("brackets", ["[", '{"a":', '[{"a":['])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 500, 20_000])
@pytest.mark.parametrize("channel", list(Channel))
def test_deep_json(channel: Channel, depth: int, brackets: str) -> None:
    opened = brackets * depth
    closed = "0" + "".join("]" if c == "[" else "}" for c in reversed(opened) if c in "[{")
    for payload in (opened, f'{{"type":"set_shot","data":{{"prompt":{opened}{closed}}}}}'):
        with pytest.raises(FrameError):
            V0.decode(Frame(channel, payload))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 40, 2_000])
def test_deep_struct(depth: int) -> None:
    # Built from the innermost value outwards, as the library itself refuses to go as deep.
    value = b"\x11" + bytes(8)
    for _ in range(depth):
        value = b"\x32" + length(b"\x0a" + length(value))
    field = b"\x0a" + length(b"\x0a\x01a\x12" + length(value))
    command = b"\x0a\x01x\x12" + length(field)
    with pytest.raises(FrameError):
        V1.decode(Frame(Channel.DATA, b"\x0a\x06data_1\x10\x01\x52" + length(command)))


def test_depth_that_is_allowed() -> None:
    nested: object = 0
    for _ in range(MAX_DEPTH - 1):
        nested = {"a": nested}
    document = {"type": "x", "data": {"a": nested}}
    assert V0.decode(Frame(Channel.DATA, json.dumps(document))).data == document["data"]
    command = pb.Command(type="x")
    command.data.update(document["data"])
    message = pb.DataClientMessage(kind=pb.MESSAGE_KIND_NOTIFICATION, command=command)
    assert V1.decode(Frame(Channel.DATA, message.SerializeToString())).data == document["data"]


@pytest.mark.parametrize("codec", [V0, V1])
def test_a_frame_too_large(codec: Codec) -> None:
    payload: str | bytes = " " * (MAX_FRAME_BYTES + 1) if codec is V0 else bytes(MAX_FRAME_BYTES + 1)
    with pytest.raises(FrameError, match="larger"):
        codec.decode(Frame(Channel.DATA, payload))


def test_the_size_of_text_is_counted_in_bytes() -> None:
    body = "é" * (MAX_FRAME_BYTES // 2)
    with pytest.raises(FrameError, match="larger"):
        V0.decode(Frame(Channel.DATA, json.dumps({"type": "x", "data": {"a": body}}, ensure_ascii=False)))


def length(payload: bytes) -> bytes:
    """A length-delimited protobuf field without its tag."""
    size, head = len(payload), b""
    while size > 0x7F:
        head += bytes([size & 0x7F | 0x80])
        size >>= 7
    return head + bytes([size]) + payload
