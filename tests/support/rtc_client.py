"""One peer of a client of our own: aiortc underneath, either protocol of the data channels on top.

`offer` and `accept` are the two halves of signalling, whatever carries it; `connect` does both against a `Connection`.
`tests.support.client` is the whole client: HTTP, and one such peer after another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpsender import RTCRtpSender

from cluster.media.connection import Connection
from tests.support.client_frames import read_v0, read_v1, write_v0, write_v1
from tests.support.received import WAIT_S, BadNetwork, MediaFrame, Received
from wire.codec import Frame
from wire.frames import (
    Channel,
    ClientMessage,
    Command,
    CommandAccepted,
    ModelCapabilities,
    ModelMessage,
    ModelSchema,
    PauseTrack,
    Ping,
    PublishTrack,
    Refused,
    RequestClip,
    RequestRecording,
    RequestSchema,
    ResumeTrack,
    TrackPublished,
    UnpublishTrack,
    UploadReference,
)
from wire.http import ClientInfo, SdpOffer, TrackMapping

__all__ = ["WAIT_S", "BadNetwork", "Received", "RtcClient"]

Protocol = Literal["v0", "v1"]
SDKS = {
    "v0": ClientInfo(sdk_type="js", sdk_version="2.12.3"),
    "v1": ClientInfo(sdk_type="python", sdk_version="1.13.0"),
}
_EVENTS: dict[str, type[ResumeTrack] | type[PauseTrack] | type[UnpublishTrack]] = {
    "resume_track": ResumeTrack,
    "pause_track": PauseTrack,
    "unpublish_track": UnpublishTrack,
}
_REPLIES: dict[type, tuple[str, ...]] = {
    RequestSchema: ("modelSchema",),
    RequestClip: ("clipReady", "clipFailed"),
    RequestRecording: ("clipReady", "clipFailed"),
    PublishTrack: ("publish_track",),
}
"""What answers a request in v0, whose replies have no ids."""


class RtcClient:
    """One peer. `outputs` are the tracks to receive, `inputs` the tracks to send.

    Frames of outputs go to `on_frame` with their track's name, or are kept in `received`. Messages go to `on_message`
    with their type, and are kept in `messages`.
    """

    def __init__(
        self,
        outputs: Mapping[str, str] | None = None,
        *,
        inputs: Mapping[str, MediaStreamTrack] | None = None,
        channels: Sequence[str] = ("control", "data"),
        codecs: Sequence[str] = (),
        network: BadNetwork | None = None,
        protocol: Protocol = "v0",
        client_info: ClientInfo | None = None,
        mapping: bool = True,
        configuration: RTCConfiguration | None = None,
        on_frame: Callable[[str, MediaFrame], None] | None = None,
        on_message: Callable[[str, Any], None] | None = None,
    ) -> None:
        self._protocol = protocol
        self._client_info = client_info or SDKS[protocol]
        self._mapping = mapping
        self._network = network
        self._on_message = on_message
        self.pc = RTCPeerConnection(configuration or RTCConfiguration(iceServers=[]))
        self.messages: list[tuple[str, Any]] = []
        self.raw: list[str | bytes] = []
        self._replies: dict[str, tuple[str, Any]] = {}
        self._requests = dict.fromkeys(Channel, 0)
        self._arrived = asyncio.Event()
        self._channels = {label: self.pc.createDataChannel(label) for label in channels}
        for label, channel in self._channels.items():
            channel.on("open", self._arrived.set)
            channel.on("message", lambda payload, label=label: self._received(Channel(label), payload))
        self.received: dict[str, Received] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._tracks = []
        for name, kind in (outputs if outputs is not None else {"main_video": "video"}).items():
            transceiver = self.pc.addTransceiver(kind, direction="recvonly")
            if codecs and kind == "video":
                known = RTCRtpSender.getCapabilities(kind).codecs
                transceiver.setCodecPreferences([c for c in known if c.name in {*codecs, "rtx"}])
            look = None if on_frame is None else lambda frame, name=name: on_frame(name, frame)
            self.received[name] = Received(look)
            self._tracks.append((transceiver, name, kind, "recvonly"))
        for name, track in (inputs or {}).items():
            transceiver = self.pc.addTransceiver(track, direction="sendonly")
            self._tracks.append((transceiver, name, track.kind, "sendonly"))

    # --- signalling

    async def offer(self) -> SdpOffer:
        """The offer, with every candidate in it."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        if self._network is not None:
            for ice in self._ice():
                ice.data_received = self._network.wrap(ice.data_received)
        mapping = [TrackMapping(mid=t.mid, name=name, kind=kind, direction=way) for t, name, kind, way in self._tracks]
        return SdpOffer(
            sdp_offer=self.pc.localDescription.sdp,
            client_info=self._client_info,
            track_mapping=mapping if self._mapping else [],
        )

    async def accept(self, answer: str) -> None:
        """Take the answer and wait for the channels."""
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        for transceiver, name, _, way in self._tracks:
            if way == "recvonly" and transceiver.receiver.track is not None:
                reading = self.received[name].read(transceiver.receiver.track)
                self._readers.append(asyncio.create_task(reading))
        await self.until(self.is_open)

    async def connect(self, connection: Connection) -> None:
        connection.offer(await self.offer())
        answer = await connection.answer(WAIT_S)
        assert answer is not None
        await self.accept(answer)

    # --- what is said

    def send(self, channel: str, payload: str | bytes) -> None:
        """Send a frame as it is."""
        self._channels[channel].send(payload)

    def write(self, message: ClientMessage) -> None:
        """Send a message in the client's protocol."""
        frame = (write_v1 if self._protocol == "v1" else write_v0)(message)
        self.send(frame.channel, frame.payload)

    def command(
        self, name: str, data: Mapping[str, Any] | None = None, uploads: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Send a command and wait for no reply; `uploads` are references by argument."""
        references = {argument: UploadReference(**reference) for argument, reference in (uploads or {}).items()}
        self.write(Command(name, dict(data or {}), references))

    def ping(self) -> None:
        self.write(Ping())

    def notify(self, event: str, track: str) -> None:
        """`resume_track`, `pause_track` or `unpublish_track`."""
        self.write(_EVENTS[event](track))

    async def request(self, method: str, track: str) -> dict[str, Any]:
        """`publish_track` and its response, with `data` or `error`."""
        assert method == "publish_track"
        return (await self.ask(PublishTrack(track)))[1]

    async def ask(self, request: ClientMessage) -> tuple[str, Any]:
        """A request's reply, its type and data. v0 has none for commands; in v1 an empty one is `commandAccepted`."""
        if self._protocol == "v0" and not isinstance(request, PublishTrack):
            self.write(request)
            return await self._next(_REPLIES[type(request)])
        channel = Channel.DATA if isinstance(request, Command) else Channel.CONTROL
        self._requests[channel] += 1
        request_id = f"{'data' if channel is Channel.DATA else 'ctrl'}_{self._requests[channel]}"
        self.write(replace(request, request_id=request_id))
        await self.until(lambda: request_id in self._replies)
        return self._replies.pop(request_id)

    # --- what comes

    async def message(self, kind: str) -> Any:
        """The data of the next message of this type; earlier messages of other types are kept."""
        return (await self._next((kind,)))[1]

    async def _next(self, kinds: Sequence[str]) -> tuple[str, Any]:
        def places() -> list[int]:
            return [place for place, (kind, _) in enumerate(self.messages) if kind in kinds]

        await self.until(lambda: bool(places()))
        return self.messages.pop(places()[0])

    async def frame(self) -> str | bytes:
        """The next frame as it came, on whichever channel."""
        await self.until(lambda: bool(self.raw))
        return self.raw.pop(0)

    def _received(self, channel: Channel, payload: str | bytes) -> None:
        self.raw.append(payload)
        frame = Frame(channel, payload)
        message = read_v0(frame) if isinstance(payload, str) else read_v1(frame)
        request_id, told = _told(message)
        if request_id is not None:
            self._replies[request_id] = told
        else:
            self.messages.append(told)
            if self._on_message is not None:
                self._on_message(*told)
        self._arrived.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition, of channels and messages, holds."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._arrived.clear()
                await self._arrived.wait()

    def is_open(self) -> bool:
        """Whether every channel can be written to."""
        return all(channel.readyState == "open" for channel in self._channels.values())

    # --- the end

    def is_closed(self) -> bool:
        return self.pc.connectionState in ("closed", "failed")

    def vanish(self) -> None:
        """The network is gone: nothing leaves and nothing comes any more, and nobody is told."""
        for ice in self._ice():
            for protocol in ice._protocols:
                protocol.transport.sendto = lambda *_: None
                protocol.datagram_received = lambda *_: None

    def _ice(self) -> list[Any]:
        return [transport._connection for transport in self.pc._RTCPeerConnection__iceTransports]

    async def close(self) -> None:
        await self.pc.close()
        for reader in self._readers:
            reader.cancel()
        if self._readers:
            await asyncio.wait(self._readers)


def _told(message: Any) -> tuple[str | None, tuple[str, Any]]:
    """The id of the request that a server's message answers, and its type and data."""
    request_id = getattr(message, "request_id", None)
    match message:
        case dict():  # a response of v0
            return message["request_id"], (message["method"], message)
        case ModelMessage(type=kind, data=data):
            return request_id, (kind, data)
        case ModelSchema(openapi=document):
            return request_id, ("modelSchema", document)
        case ModelCapabilities(capabilities=document):
            return None, ("modelCapabilities", document)
        case TrackPublished():
            return request_id, ("publish_track", {"data": {}})
        case Refused(code=code, message=text):
            return request_id, ("error", {"error": {"code": code, "message": text}})
        case CommandAccepted():
            return request_id, ("commandAccepted", {})
    name = type(message).__name__  # ClipReady is `clipReady` in v0, and in v1 what it is called here
    return request_id, (name[0].lower() + name[1:], {k: v for k, v in asdict(message).items() if k != "request_id"})
