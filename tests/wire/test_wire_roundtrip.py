"""Every message survives the way through each protocol."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.support.client_frames import read_v0, read_v1, write_v0, write_v1
from tests.wire.wire_strategies import v0_client, v0_server, v1_client, v1_server
from wire import V0, V1, codec_for_first_frame
from wire.frames import ClientMessage, ServerMessage

pytestmark = pytest.mark.fast


@settings(deadline=None)
@given(v0_client)
def test_v0_reads_what_a_client_writes(message: ClientMessage) -> None:
    frame = write_v0(message)
    assert V0.decode(frame) == message
    assert V0.decode(frame._replace(payload=frame.payload.encode())) == message
    assert codec_for_first_frame(frame.payload) is V0


@settings(deadline=None)
@given(v1_client)
def test_v1_reads_what_a_client_writes(message: ClientMessage) -> None:
    frame = write_v1(message)
    assert V1.decode(frame) == message
    assert codec_for_first_frame(frame.payload) is V1


@settings(deadline=None)
@given(v0_server)
def test_a_v0_client_reads_what_the_codec_writes(message: ServerMessage) -> None:
    frame = V0.encode(message)
    assert frame is not None
    assert isinstance(frame.payload, str)
    assert read_v0(frame) == message


@settings(deadline=None)
@given(v1_server)
def test_a_v1_client_reads_what_the_codec_writes(message: ServerMessage) -> None:
    frame = V1.encode(message)
    assert frame is not None
    assert isinstance(frame.payload, bytes)
    assert read_v1(frame) == message
