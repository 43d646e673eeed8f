"""The patches of aiortc hold for the installed version, and refuse another."""

from __future__ import annotations

import aiortc
import pytest
from aiortc import rtcrtpsender
from aiortc import rtp as aiortc_rtp
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters

from cluster.media import rtp

pytestmark = pytest.mark.fast


def test_the_installed_aiortc_is_the_one_we_know() -> None:
    rtp.self_test()
    rtp.install()
    assert rtcrtpsender.RTP_HISTORY_SIZE == rtp.HISTORY
    assert 35 in aiortc_rtp.DYNAMIC_PAYLOAD_TYPES


def test_another_minor_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiortc, "__version__", "1.17.0")
    with pytest.raises(RuntimeError, match=r"1\.17\.0"):
        rtp.self_test()


def test_a_missing_private_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(rtcrtpsender.RTCRtpSender, "_send_keyframe")
    with pytest.raises(RuntimeError, match="_send_keyframe"):
        rtp.self_test()


async def test_playout_delay_is_none_until_the_round_trip_is_long_and_never_again() -> None:
    pc = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    transceiver = pc.addTransceiver("video")
    rtp.limit_playout_delay(transceiver, [RTCRtpHeaderExtensionParameters(id=5, uri=rtp.PLAYOUT_DELAY)])
    sender = transceiver.sender
    packet = aiortc_rtp.RtpPacket(payload_type=96)
    packet.extensions.mid = "0"
    extensions = sender._RTCRtpSender__rtp_header_extensions_map
    for rtt, expected in ((None, 0), (0.02, 0), (0.3, 100), (0.02, 100)):
        sender._RTCRtpSender__rtt = rtt
        wire = dict(aiortc_rtp.unpack_header_extensions(*extensions.set(packet.extensions)))
        assert wire == {5: expected.to_bytes(3, "big")}
    assert [e.uri for e in transceiver._headerExtensions] == [rtp.PLAYOUT_DELAY]
    await pc.close()
