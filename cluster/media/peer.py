"""One RTCPeerConnection, from offer to close. A connection replaces its peer when the client offers again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError

from cluster.errors import InvalidOffer
from cluster.media import rtp, sockets
from cluster.media.announce import announced
from cluster.media.inbound import Inbound, InboundAudio, InboundVideo
from cluster.media.offer import PARSE_ERRORS, Offer, Section
from cluster.media.output import AudioOutput, VideoOutput
from cluster.media.sender import Way
from cluster.media.track import PacketTrack
from cluster.settings import MediaSettings
from wire.frames import Channel

Outputs = Mapping[str, VideoOutput | AudioOutput]
DRAIN_S = 0.3
"""How long a closing peer waits for its last messages to leave."""
MAX_UNREAD_BYTES = 16 * 2**20
"""Messages that may wait on a channel for a client that does not read them; then it is given up."""
_SSRC = re.compile(r"^a=ssrc:(\d+) cname:", re.MULTILINE)

_open: set[Peer] = set()

rtp.install()


def open_peers() -> int:
    """Peers of this process that are not closed."""
    return len(_open)


class PeerEvents(Protocol):
    """Who listens to a peer. Nothing is called once `Peer.close` has begun."""

    def peer_open(self, peer: Peer, channel: Channel) -> None:
        """A data channel has opened."""
        ...

    def peer_frame(self, peer: Peer, channel: Channel, payload: str | bytes) -> None:
        """A frame has come in."""
        ...

    def peer_lost(self, peer: Peer, reason: str) -> None:
        """The other side is gone."""
        ...


class Peer:
    """See the module. `viewers` are the outbound tracks by name, all paused at first."""

    def __init__(self, offer: Offer, outputs: Outputs, events: PeerEvents, settings: MediaSettings) -> None:
        self._offer = offer
        self._settings = settings
        self._outputs = outputs
        self._events = events
        self._closing = False
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._pc.on("datachannel", self._on_channel)
        self._pc.on("connectionstatechange", self._on_state)
        self._channels: dict[Channel, RTCDataChannel] = {}
        self._way = Way()
        self.viewers: dict[str, PacketTrack] = {}
        self.answered = False
        self._inbound: dict[str, tuple[RTCRtpTransceiver, Inbound]] = {}
        _open.add(self)

    @property
    def ufrags(self) -> frozenset[str]:
        """Username fragments that candidates of this peer carry."""
        return self._offer.ufrags

    async def answer(self) -> str:
        """The SDP answer, with every candidate of the server.

        Raises:
            InvalidOffer: it cannot be answered.
            PortsExhausted: there is no port for it now.
        """
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(self._offer.text, "offer"))
            transceivers = {t.mid: t for t in self._pc.getTransceivers()}
            for section in self._offer.sections:
                self._attach(transceivers[section.mid], section)
            if (ports := self._settings.port_range) is not None:
                rtp.bind_by(self._pc, lambda addresses: sockets.bound(addresses, ports))
            await self._pc.setLocalDescription(await self._pc.createAnswer())
        except (*PARSE_ERRORS, InvalidAccessError, InvalidStateError, OperationError) as error:
            raise InvalidOffer("the SDP offer cannot be answered") from error
        for transceiver, _ in self._inbound.values():
            rtp.set_receiving(transceiver.receiver, False)
        self.answered = True
        return _with_msid(announced(self._pc.localDescription.sdp, self._settings.public_addresses))

    def _attach(self, transceiver: RTCRtpTransceiver, section: Section) -> None:
        if section.track is None:
            transceiver.direction = "inactive"
        elif section.direction == "in":
            transceiver.direction = "recvonly"
            track = transceiver.receiver.track
            self._inbound[section.track] = (
                transceiver,
                InboundVideo(track) if section.kind == "video" else InboundAudio(track),
            )
        else:
            transceiver.direction = "sendonly"
            transceiver.sender.replaceTrack(self._viewer(transceiver, section.track, section))

    def _viewer(self, transceiver: RTCRtpTransceiver, name: str, section: Section) -> PacketTrack:
        output = self._outputs[name]
        if isinstance(output, AudioOutput):
            viewer = output.viewer()
        else:
            assert section.codec is not None
            rtp.prefer(transceiver, section.codec)
            media = next(m for m in self._offer.description.media if m.rtp.muxId == section.mid)
            rtp.limit_playout_delay(transceiver, media.rtp.headerExtensions)
            viewer = output.viewer(section.codec)
            rtp.on_keyframe_request(transceiver.sender, viewer.request_keyframe)
            self._way.carry(transceiver.sender, viewer)
        self.viewers[name] = viewer
        return viewer

    async def add_candidate(self, candidate: RTCIceCandidate) -> None:
        """Add a trickled candidate, after the answer."""
        if not self._closing:
            await self._pc.addIceCandidate(candidate)

    # --- data channels

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label not in (Channel.DATA, Channel.CONTROL) or channel.label in self._channels:
            return
        label = Channel(channel.label)
        self._channels[label] = channel
        channel.on("message", lambda payload: self._tell(self._events.peer_frame, label, payload))
        self._tell(self._events.peer_open, label)

    def _on_state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self._tell(self._events.peer_lost, f"peer {self._pc.connectionState}")

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        if not self._closing:
            call(self, *args)

    def is_open(self, channel: Channel) -> bool:
        """Whether frames can be sent on the channel."""
        return channel in self._channels and self._channels[channel].readyState == "open"

    def send(self, channel: Channel, payload: str | bytes) -> None:
        """Send a frame on an open channel.

        Raises:
            ValueError: it is larger than the client accepts.
        """
        if self._channels[channel].bufferedAmount <= MAX_UNREAD_BYTES:
            self._channels[channel].send(payload)
        else:  # not at once: this may be one of many that are told the same
            asyncio.get_running_loop().call_soon(self._tell, self._events.peer_lost, "messages not read")

    # --- inbound media

    def publish(self, track: str) -> None:
        """Begin to decode and keep an inbound track, if this peer offered it."""
        if track in self._inbound:
            transceiver, inbound = self._inbound[track]
            rtp.set_receiving(transceiver.receiver, True)
            inbound.start()

    def unpublish(self, track: str) -> None:
        """Discard an inbound track again."""
        if track in self._inbound:
            transceiver, inbound = self._inbound[track]
            rtp.set_receiving(transceiver.receiver, False)
            inbound.stop()

    def inbound(self, track: str) -> Inbound | None:
        """What is kept of an inbound track."""
        return self._inbound[track][1] if track in self._inbound else None

    async def answers(self) -> bool:
        """Whether the client is there; takes seconds if it is not."""
        return await rtp.answers(self._pc)

    # --- the end

    async def close(self, *, drain: bool = False) -> None:
        """Close everything and leave no task. With `drain`, messages already sent are given a moment to leave."""
        if drain and self._channels:
            await self._drained()
        self._closing = True
        for viewer in self.viewers.values():
            viewer.stop()
        for _, inbound in self._inbound.values():
            inbound.stop()
            await inbound.ended()
        await self._pc.close()
        await self._way.close()
        await rtp.connecting_ended(self._pc)
        _open.discard(self)

    async def _drained(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                await rtp.delivered(self._pc)
        except TimeoutError:
            pass


def _with_msid(answer: str) -> str:
    """Repeat each section's msid per ssrc: some WebRTC builds refuse grouped ssrcs without it."""
    sections = re.split(r"(?m)^(?=m=)", answer)
    return "".join(_section_with_msid(section) for section in sections)


def _section_with_msid(section: str) -> str:
    msid = re.search(r"^a=msid:(.+?)\r?$", section, re.MULTILINE)
    if msid is None:
        return section
    return _SSRC.sub(lambda m: f"a=ssrc:{m[1]} msid:{msid[1]}\r\n{m[0]}", section)
