"""A client that measures: HTTP by httpx, WebRTC by aiortc, frame numbers and times instead of pictures."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpsender import RTCRtpSender

from longlive import stamp

PING_S = 5.0


class Client:
    """One session of `longlive-v2`. Times are of `time.perf_counter`."""

    def __init__(self, http: httpx.AsyncClient, codec: str | None = None) -> None:
        """With a codec (`VP8`, `H264`), nothing else is offered."""
        self._http = http
        self.session_id = ""
        self.messages: list[tuple[float, str, dict[str, Any]]] = []
        self.frames: list[tuple[float, int]] = []
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._control = self._pc.createDataChannel("control")
        self._data = self._pc.createDataChannel("data")
        self._data.on("message", self._message)
        self._track = self._pc.addTransceiver("video", direction="recvonly")
        if codec is not None:
            known = RTCRtpSender.getCapabilities("video").codecs
            self._track.setCodecPreferences([each for each in known if each.name in (codec, "rtx")])

    async def connect(self) -> tuple[float, float]:
        """Open a session: the times of the request and of the SDP answer."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        mapping = {"mid": self._track.mid, "name": "main_video", "kind": "video", "direction": "recvonly"}
        offer = {"sdp_offer": self._pc.localDescription.sdp, "track_mapping": [mapping]}
        offer["client_info"] = {"sdk_type": "js", "sdk_version": "2.9.0"}
        asked = time.perf_counter()
        self.session_id = (await self._call("POST", "/sessions", {"model": {"name": "longlive-v2"}}))["session_id"]
        await self._until_held()
        base = f"/sessions/{self.session_id}/transport/webrtc/connections"
        base += f"/{(await self._call('POST', base, {}))['connection_id']}/sdp_params"
        await self._call("POST", base, offer)
        answer = await self._call("GET", base)
        answered = time.perf_counter()
        await self._pc.setRemoteDescription(RTCSessionDescription(answer["sdp_answer"], "answer"))
        self._tasks = [asyncio.create_task(self._read(self._track.receiver.track)), asyncio.create_task(self._ping())]
        await self.until(lambda: self._data.readyState == self._control.readyState == "open" and bool(self.messages))
        notification = {"type": "notification", "event": "resume_track", "data": {"name": "main_video"}}
        self._control.send(json.dumps(notification))
        return asked, answered

    def command(self, name: str, **data: Any) -> None:
        """Send a command."""
        self._data.send(json.dumps({"scope": "application", "data": {"type": name, "data": data}}))

    async def until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Return when the condition holds; TimeoutError after `limit_s` seconds without."""
        async with asyncio.timeout(limit_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def of_type(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        """Messages of one type with their times."""
        return [(at, data) for at, of, data in self.messages if of == kind]

    async def close(self) -> None:
        """Delete the session and close the peer."""
        await self._call("DELETE", f"/sessions/{self.session_id}")
        for task in self._tasks:
            task.cancel()
        await self._pc.close()

    async def _until_held(self) -> None:
        while "capabilities" not in await self._call("GET", f"/sessions/{self.session_id}"):
            await asyncio.sleep(0.05)

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        reply = await self._http.request(method, path, json=body)
        return reply.raise_for_status().json() if reply.content else {}

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            number = stamp.read(frame.to_ndarray(format="rgb24"))
            if number is not None:
                self.frames.append((time.perf_counter(), number))
                self._changed.set()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            self._data.send(json.dumps({"scope": "runtime", "data": {"type": "ping", "data": {}}}))

    def _message(self, text: str) -> None:
        document = json.loads(text)["data"]
        self.messages.append((time.perf_counter(), document["type"], document["data"]))
        self._changed.set()
