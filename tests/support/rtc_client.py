"""A client of our own: aiortc underneath, protocol v0 on top, bad networks on demand.

`offer` and `accept` are the two halves of signalling, whatever carries it; `connect` does both against a `Connection`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpsender import RTCRtpSender
from av import AudioFrame, VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from cluster.media.connection import Connection
from wire.http import ClientInfo, SdpOffer, TrackMapping

WAIT_S = 20.0


class Received:
    """Frames of one track, decoded. Pictures are RGB; `wait` is for tests that need a number of them."""

    def __init__(self) -> None:
        self.pictures: list[NDArray[np.uint8]] = []
        self.samples = 0
        self.ended = False
        self._changed = asyncio.Event()
        self._reformatter = VideoReformatter()

    async def read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                self._keep(await track.recv())
            except MediaStreamError:
                self.ended = True
                return
            finally:
                self._changed.set()

    def _keep(self, frame: VideoFrame | AudioFrame) -> None:
        if isinstance(frame, AudioFrame):
            self.samples += frame.samples
            return
        matrix = Colorspace.ITU709 if frame.colorspace == Colorspace.ITU709 else Colorspace.ITU601
        rgb = self._reformatter.reformat(frame, format="rgb24", src_colorspace=matrix, threads=1)
        self.pictures.append(rgb.to_ndarray())

    async def wait(self, condition: Callable[[Received], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()


class BadNetwork:
    """Loses and reorders media packets on their way to a client; data channels and handshakes pass."""

    def __init__(self, loss: float, reorder: float, seed: int = 0) -> None:
        self.loss = loss
        self.reorder = reorder
        self.lost = self.reordered = 0
        self._random = random.Random(seed)

    def wrap(self, receive: Callable[[bytes, int], None]) -> Callable[[bytes, int], None]:
        held: list[bytes] = []

        def received(data: bytes, component: int) -> None:
            is_media = 127 < data[0] < 192 and not 192 <= data[1] <= 208
            if is_media and self._random.random() < self.loss:
                self.lost += 1
                return
            if is_media and not held and self._random.random() < self.reorder:
                self.reordered += 1
                held.append(data)
                return
            receive(data, component)
            if is_media and held:
                receive(held.pop(), component)

        return received


class RtcClient:
    """One client. `outputs` are the tracks to receive, `inputs` the tracks to send."""

    def __init__(
        self,
        outputs: Mapping[str, str] | None = None,
        *,
        inputs: Mapping[str, MediaStreamTrack] | None = None,
        channels: Sequence[str] = ("control", "data"),
        codecs: Sequence[str] = (),
        network: BadNetwork | None = None,
        client_info: ClientInfo | None = None,
        mapping: bool = True,
        configuration: RTCConfiguration | None = None,
    ) -> None:
        self._client_info = client_info or ClientInfo(sdk_type="js", sdk_version="2.12.3")
        self._mapping = mapping
        self._network = network
        self.pc = RTCPeerConnection(configuration or RTCConfiguration(iceServers=[]))
        self.messages: list[tuple[str, Any]] = []
        self.raw: list[str | bytes] = []
        self._arrived = asyncio.Event()
        self._channels = {label: self.pc.createDataChannel(label) for label in channels}
        for label, channel in self._channels.items():
            channel.on("open", self._arrived.set)
            channel.on("message", lambda payload, label=label: self._received(label, payload))
        self.received: dict[str, Received] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._tracks = []
        for name, kind in (outputs if outputs is not None else {"main_video": "video"}).items():
            transceiver = self.pc.addTransceiver(kind, direction="recvonly")
            if codecs and kind == "video":
                known = RTCRtpSender.getCapabilities(kind).codecs
                transceiver.setCodecPreferences([c for c in known if c.name in {*codecs, "rtx"}])
            self.received[name] = Received()
            self._tracks.append((transceiver, name, kind, "recvonly"))
        for name, track in (inputs or {}).items():
            transceiver = self.pc.addTransceiver(track, direction="sendonly")
            self._tracks.append((transceiver, name, track.kind, "sendonly"))

    # --- signalling

    async def offer(self) -> SdpOffer:
        """The offer, with every candidate in it."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        if self._network is not None:
            for transport in self.pc._RTCPeerConnection__iceTransports:
                ice = transport._connection
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
        await self._until(lambda: all(c.readyState == "open" for c in self._channels.values()))

    async def connect(self, connection: Connection) -> None:
        connection.offer(await self.offer())
        answer = await connection.answer(WAIT_S)
        assert answer is not None
        await self.accept(answer)

    # --- messages

    def send(self, channel: str, payload: str | bytes) -> None:
        self._channels[channel].send(payload)

    def command(
        self, name: str, data: Mapping[str, Any] | None = None, uploads: Mapping[str, Any] | None = None
    ) -> None:
        """Send a command; `uploads` are references by argument."""
        inner = {"type": name, "data": dict(data or {})} | ({"uploads": dict(uploads)} if uploads else {})
        self.send("data", json.dumps({"scope": "application", "data": inner}))

    def ping(self) -> None:
        self.send("data", json.dumps({"scope": "runtime", "data": {"type": "ping", "data": {}}}))

    def notify(self, event: str, track: str) -> None:
        """`resume_track`, `pause_track` or `unpublish_track`."""
        self.send("control", json.dumps({"type": "notification", "event": event, "data": {"name": track}}))

    async def request(self, method: str, track: str, request_id: str = "ctrl_1") -> dict[str, Any]:
        """A control request and its response."""
        document = {"type": "request", "method": method, "request_id": request_id, "data": {"name": track}}
        self.send("control", json.dumps(document))
        return await self.message(method)

    async def message(self, kind: str) -> Any:
        """The data of the next message of this type; earlier messages of other types are kept."""

        def found() -> bool:
            return any(of == kind for of, _ in self.messages)

        await self._until(found)
        index = next(i for i, (of, _) in enumerate(self.messages) if of == kind)
        return self.messages.pop(index)[1]

    async def frame(self) -> str | bytes:
        """The next frame as it came, on whichever channel."""
        await self._until(lambda: bool(self.raw))
        return self.raw.pop(0)

    def _received(self, label: str, payload: str | bytes) -> None:
        self.raw.append(payload)
        if isinstance(payload, str):
            document = json.loads(payload)
            if label == "control":
                self.messages.append((document["method"], document))
            else:
                self.messages.append((document["data"]["type"], document["data"]["data"]))
        self._arrived.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._arrived.clear()
                await self._arrived.wait()

    # --- the end

    def is_closed(self) -> bool:
        return self.pc.connectionState in ("closed", "failed")

    async def close(self) -> None:
        await self.pc.close()
        for reader in self._readers:
            reader.cancel()
        if self._readers:
            await asyncio.wait(self._readers)
