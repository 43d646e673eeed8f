"""Every touch of aiortc's private names, in one place. Written against aiortc 1.16; `self_test` refuses another.

What is changed, and why:
- The retransmission history holds 128 packets, less than two keyframes of a 704-line picture; here 1024.
- Payload types below 96 are taken from an offer too; clients that offer many codecs use 35 to 63.
- PLI and FIR reach the track: as packets are passed through, aiortc's own keyframe flag has no effect.
- Receiver reports, REMB and requests for retransmission reach the sender of our own (`sender.py`).
- The codec is chosen after `setRemoteDescription`, as `setCodecPreferences` has no effect on an answer.
- The playout-delay header extension is answered and sent, so that receivers show pictures as they come.
- A host without a network still connects to itself.
- Sockets can be had from a range of ports; aioice takes whichever the system gives.
- A receiver can be switched off, so that nothing is decoded which nobody reads.
- A peer's client can be asked for a sign of life at any time.
- A closing peer waits for its last messages to be acknowledged, and for its tasks to end.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import aiortc
from aioice import Candidate, ice, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import (
    RTCDtlsTransport,
    RTCIceTransport,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
    rtcpeerconnection,
    rtcrtpsender,
    rtp,
    sdp,
)
from aiortc.codecs import CODECS, is_rtx
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from cluster.media.encoder import VideoCodec
from cluster.media.reports import Report

AIORTC = "1.16."
MAX_ROUND_TRIP_S = 30.0
"""Longer ones are none."""
HISTORY = 1024
PACKET_SIZE = 1250
"""About what a full RTP packet of ours takes, in bytes."""
PAYLOAD_TYPES = frozenset(range(35, 64)) | frozenset(range(96, 128))
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
DELIVERY_POLL_S = 0.005
RECEIVE_BUFFER = 262_144
"""Of a socket, in bytes; what aioice asks for."""
PROBES = 2
"""Repetitions of a question for a sign of life: sent after 0, 0.5 and 1.5 s, given up after 3.5 s."""
LONG_RTT_S = 0.15
"""Beyond this round-trip time a retransmission needs the receiver to wait for it."""
_AT_ONCE = bytes(3)
_UP_TO_1_S = (100).to_bytes(3, "big")
_EXTENSIONS_MAP = "_RTCRtpSender__rtp_header_extensions_map"
_ICE_START = "_RTCIceTransport__start"
_RTT = "_RTCRtpSender__rtt"
_LSR = "_RTCRtpSender__lsr"
_LSR_TIME = "_RTCRtpSender__lsr_time"
_PROFILES = ("42e01f", "42001f")
_get_host_addresses = ice.get_host_addresses


def self_test() -> None:
    """Raises RuntimeError when the installed aiortc is not the one this module was written against."""
    names = (_EXTENSIONS_MAP, _RTT, _LSR, _LSR_TIME, "_ssrc")
    missing = [name for name in names if name not in _assigned_in(RTCRtpSender)]
    hooks = ("_send_keyframe", "_handle_rtcp_packet", "_retransmit", "setTransport")
    missing += [name for name in hooks if not hasattr(RTCRtpSender, name)]
    missing += [name for name in ("_send_rtp",) if not hasattr(RTCDtlsTransport, name)]
    missing += [name for name in ("set", "configure") if not hasattr(rtp.HeaderExtensionsMap, name)]
    missing += [name for name in ("_codecs", "_headerExtensions") if name not in _assigned_in(RTCRtpTransceiver)]
    missing += [name for name in (_ICE_START,) if name not in _assigned_in(RTCIceTransport)]
    missing += [name for name in ("_enabled",) if name not in _assigned_in(RTCRtpReceiver)]
    missing += [name for name in ("_nominated", "_protocols") if name not in _assigned_in(ice.Connection)]
    methods = ("build_request", "get_component_candidates")
    missing += [name for name in methods if not hasattr(ice.Connection, name)]
    if not aiortc.__version__.startswith(AIORTC) or missing:
        raise RuntimeError(f"aiortc {AIORTC}* is needed; found {aiortc.__version__}, lacking {missing}")


def _assigned_in(cls: type) -> set[str]:
    return set(inspect.getattr_static(cls, "__init__").__code__.co_names)


def install() -> None:
    """Change what is module-wide in aiortc. May be called again."""
    self_test()
    rtcrtpsender.RTP_HISTORY_SIZE = HISTORY  # type: ignore[attr-defined]
    rtp.DYNAMIC_PAYLOAD_TYPES = PAYLOAD_TYPES  # type: ignore[assignment]
    ice.get_host_addresses = host_addresses


def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """Addresses of this host; the loopback only where there is no other."""
    return _get_host_addresses(use_ipv4, use_ipv6) or ["127.0.0.1"]


def bind_by(pc: RTCPeerConnection, bind: Callable[[list[str]], list[socket.socket]]) -> None:
    """Have `bind` make the sockets of a peer that has an offer and no answer yet, on the addresses it is given.

    For a peer without STUN and TURN servers. What `bind` raises comes out of `setLocalDescription`.
    """
    for transport in pc._RTCPeerConnection__iceTransports:  # type: ignore[attr-defined]
        connection: ice.Connection = transport._connection
        connection.get_component_candidates = partial(_host_candidates, connection, bind)  # type: ignore[method-assign]


async def _host_candidates(
    connection: ice.Connection,
    bind: Callable[[list[str]], list[socket.socket]],
    component: int,
    addresses: list[str],
) -> list[Candidate]:
    loop = asyncio.get_running_loop()
    candidates = []
    for each in bind(addresses):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        _, protocol = await loop.create_datagram_endpoint(partial(ice.StunProtocol, connection), sock=each)
        host, port = each.getsockname()[:2]
        foundation, priority = candidate_foundation("host", "udp", host), candidate_priority(component, "host")
        protocol.local_candidate = Candidate(foundation, component, "udp", priority, host, port, "host")
        connection._protocols.append(protocol)
        candidates.append(protocol.local_candidate)
    return candidates


def choose_codec(media: sdp.MediaDescription) -> VideoCodec | None:
    """The codec we answer to an offered video section with: H.264 if offered in a profile we make, else VP8."""
    common = rtcpeerconnection.find_common_codecs(CODECS["video"], media.rtp.codecs)
    for codec in VideoCodec:
        if _ranked(common, codec):
            return codec
    return None


def prefer(transceiver: RTCRtpTransceiver, codec: VideoCodec) -> None:
    """Answer with this codec and its retransmission format only."""
    chosen = _ranked(transceiver._codecs, codec)[0]
    rtx = [c for c in transceiver._codecs if is_rtx(c) and c.parameters.get("apt") == chosen.payloadType]
    transceiver._codecs = [chosen, *rtx[:1]]


def _ranked(codecs: Iterable[RTCRtpCodecParameters], codec: VideoCodec) -> list[RTCRtpCodecParameters]:
    found = [c for c in codecs if c.name.upper() == codec]
    if codec is VideoCodec.H264:
        found = [c for c in found if c.parameters["profile-level-id"] in _PROFILES]
        found.sort(key=lambda c: _PROFILES.index(str(c.parameters["profile-level-id"])))
    return found


def on_keyframe_request(sender: RTCRtpSender, call: Callable[[], None]) -> None:
    """Call on every PLI and FIR of the receiver."""
    sender._send_keyframe = call  # type: ignore[method-assign]


def is_rtcp(data: bytes) -> bool:
    """Whether a packet on an RTP transport is a report (RFC 5761)."""
    return rtp.is_rtcp(data)


def sequence_number(sender: RTCRtpSender, data: bytes, other: int) -> int:
    """That of an RTP packet of the sender's own stream (RFC 3550, section 5.1), `other` for a retransmission."""
    own = int.from_bytes(data[8:12], "big") == sender._ssrc
    return int.from_bytes(data[2:4], "big") if own else other


def round_trip(sender: RTCRtpSender) -> float | None:
    """The smoothed round trip in seconds, once a report has come."""
    rtt: float | None = getattr(sender, _RTT)
    return rtt


def take_over_retransmission(
    sender: RTCRtpSender, asked_for: Callable[[int], Awaitable[None]]
) -> Callable[[int], Awaitable[None]]:
    """Have `asked_for` called with each sequence number the receiver asks for; returns what sends it again."""
    resend = sender._retransmit
    sender._retransmit = asked_for  # type: ignore[method-assign, assignment]
    return resend


def on_feedback(sender: RTCRtpSender, report: Callable[[Report], None], estimate: Callable[[int], None]) -> None:
    """Call `report` with each receiver report on what is sent, `estimate` with each REMB (bit/s)."""
    handle = sender._handle_rtcp_packet

    async def handled(packet: rtp.AnyRtcpPacket) -> None:
        match packet:
            case rtp.RtcpRrPacket(reports=reports) | rtp.RtcpSrPacket(reports=reports):
                for one in reports:
                    if one.ssrc == sender._ssrc:
                        trip = _round_trip_of(sender, one)
                        report(Report(one.fraction_lost / 256, trip, one.packets_lost, one.highest_sequence))
            case rtp.RtcpPsfbPacket(fmt=rtp.RTCP_PSFB_APP):
                if (bitrate := _remb(packet.fci, sender._ssrc)) is not None:
                    estimate(bitrate)
        await handle(packet)

    sender._handle_rtcp_packet = handled  # type: ignore[method-assign]


def _round_trip_of(sender: RTCRtpSender, report: rtp.RtcpReceiverInfo) -> float | None:
    """RFC 3550, section 6.4.1; only for the newest sender report."""
    if not report.dlsr or report.lsr != getattr(sender, _LSR):
        return None
    rtt: float = time.time() - getattr(sender, _LSR_TIME) - report.dlsr / 65_536
    if abs(rtt) > MAX_ROUND_TRIP_S:  # the clock was set meanwhile
        return None
    return max(0.0, rtt)


def _remb(fci: bytes, ssrc: int) -> int | None:
    try:
        bitrate, ssrcs = rtp.unpack_remb_fci(fci)
    except ValueError:
        return None
    return int(bitrate) if ssrc in ssrcs else None


def set_receiving(receiver: RTCRtpReceiver, enabled: bool) -> None:
    """Take packets in, or discard them before they are decoded."""
    receiver._enabled = enabled


async def answers(pc: RTCPeerConnection) -> bool:
    """Whether the other side of a connected peer is there: it answers a check of its consent (RFC 7675)."""
    for transport in pc._RTCPeerConnection__iceTransports:  # type: ignore[attr-defined]
        connection: ice.Connection = transport._connection
        for pair in tuple(connection._nominated.values()):
            question = connection.build_request(pair, nominate=False)
            secret = (connection.remote_password or "").encode()
            try:
                await pair.protocol.request(question, pair.remote_addr, secret, PROBES)
            except stun.TransactionTimeout:
                return False
            except stun.TransactionFailed:
                pass  # a refusal is an answer, too
    return True


async def delivered(pc: RTCPeerConnection) -> None:
    """Return once the other side has acknowledged every message sent so far."""
    sctp = pc.sctp
    while sctp and (sctp._data_channel_queue or sctp._outbound_queue or sctp._sent_queue):  # noqa: ASYNC110 - no event for it
        await asyncio.sleep(DELIVERY_POLL_S)


async def connecting_ended(pc: RTCPeerConnection) -> None:
    """Return once a closed peer connection's attempts to connect have noticed; they look every 20 ms."""
    for transport in pc._RTCPeerConnection__iceTransports:  # type: ignore[attr-defined]
        started: asyncio.Event | None = getattr(transport, _ICE_START)
        if started is not None:
            await started.wait()
    await asyncio.sleep(0)


class _PlayoutDelay(rtp.HeaderExtensionsMap):
    """Adds minimum and maximum playout delay to every packet: none, or up to 1 s once the way has been long.

    It never goes back to none: libwebrtc gives pictures without a delay the render time 0, and its renderer drops every
    picture that is due before the last one, so a native client would show none any more.
    """

    def __init__(self, sender: RTCRtpSender, extension_id: int) -> None:
        super().__init__()
        self._sender = sender
        self._id = extension_id
        self._delay = _AT_ONCE

    def set(self, values: rtp.HeaderExtensions) -> tuple[int, bytes]:
        others = rtp.unpack_header_extensions(*super().set(values))
        rtt: Any = getattr(self._sender, _RTT)
        if rtt is not None and rtt > LONG_RTT_S:
            self._delay = _UP_TO_1_S
        return rtp.pack_header_extensions([*others, (self._id, self._delay)])


def limit_playout_delay(transceiver: RTCRtpTransceiver, offered: Iterable[RTCRtpHeaderExtensionParameters]) -> None:
    """Answer and send the playout-delay extension if it was offered."""
    for extension in offered:
        if extension.uri == PLAYOUT_DELAY:
            transceiver._headerExtensions = [*transceiver._headerExtensions, extension]
            setattr(transceiver.sender, _EXTENSIONS_MAP, _PlayoutDelay(transceiver.sender, extension.id))
            return
