"""A client's connection to a session: its id outlives its peers, as clients reconnect by offering again."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, Protocol

import numpy as np
import structlog
from aiortc import RTCIceCandidate
from numpy.typing import NDArray

from cluster import metrics
from cluster.errors import InvalidOffer, PortsExhausted
from cluster.media.conversation import Conversation
from cluster.media.inbound import InboundAudio, InboundVideo
from cluster.media.offer import Kind, candidate_ufrag, parse_candidate, read_offer
from cluster.media.output import AudioOutput
from cluster.media.peer import Outputs, Peer
from cluster.media.watchdog import Watchdog
from cluster.settings import MediaSettings
from wire.frames import (
    Channel,
    ClientMessage,
    ClientStats,
    PauseTrack,
    Ping,
    ResumeTrack,
    ServerMessage,
    SessionEnded,
)
from wire.http import FLAT_CONNECTION_ID, IceCandidates, Role, SdpOffer
from wire.negotiate import codec_for_client

MAX_EARLY_CANDIDATES = 64

logger = structlog.get_logger(__name__)


class Listener(Protocol):
    """The session. Called in the loop."""

    def opened(self, connection: Connection) -> None:
        """A peer has opened: the client can be greeted. Comes again, without `closed`, when the client reconnects
        while its former peer is still there; what it published is then withdrawn."""
        ...

    def message(self, connection: Connection, message: ClientMessage) -> None:
        """A message of an open connection, in order; pings, telemetry and pause/resume are not passed on."""
        ...

    def closed(self, connection: Connection, reason: str) -> None:
        """The client is gone, or never came after its offer. Once, until it offers again."""
        ...


class Connection:
    """See the module. Make and use it inside the running loop; only `take` may be called from another thread."""

    def __init__(
        self,
        connection_id: int,
        *,
        outputs: Outputs,
        inputs: Mapping[str, Literal["video", "audio"]],
        settings: MediaSettings,
        listener: Listener,
        session_id: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = connection_id
        self._outputs = outputs
        self._output_kinds: dict[str, Kind] = {
            name: "audio" if isinstance(output, AudioOutput) else "video" for name, output in outputs.items()
        }
        self._inputs = inputs
        self._listener = listener
        self._settings = settings
        self._watchdog = Watchdog(settings.ping_timeout_s, self._timed_out, clock)
        self._log = logger.bind(session_id=session_id, connection_id=connection_id)
        self._peer: Peer | None = None
        self._talk: Conversation | None = None
        self._answering: asyncio.Task[str] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._offered = asyncio.Event()
        self._early: deque[tuple[str | None, RTCIceCandidate]] = deque(maxlen=MAX_EARLY_CANDIDATES)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.is_open = False
        self.role = Role.DIRECTOR
        """Of the token that came with the newest offer; before there is one, of whoever reserved the id."""

    # --- signalling

    @property
    def offered(self) -> bool:
        """Whether a client is here, or on its way: its offer has a peer."""
        return self._peer is not None

    def offer(self, offer: SdpOffer, role: Role = Role.DIRECTOR) -> None:
        """Answer an offer in the background; its peer replaces the present one, and has this role.

        Raises:
            InvalidOffer: the offer cannot be answered; the present peer stays.
        """
        if self._closed:
            raise InvalidOffer("the connection is closed")
        checked = read_offer(offer, self._output_kinds, self._inputs)
        self._retire()
        self.role = role
        peer = self._peer = Peer(checked, self._outputs, self, self._settings)
        self._talk = Conversation(peer, codec_for_client(offer.client_info, offer.sdp_offer), self._log)
        self._answering = self._spawn(self._answer(peer))
        self._offered.set()
        self._watchdog.start()

    async def _answer(self, peer: Peer) -> str:
        try:
            answer = await peer.answer()
        except PortsExhausted:
            metrics.PORTS_EXHAUSTED.inc()
            self._log.warning("media_ports_exhausted", ports=self._settings.ports)
            raise
        for _ in range(len(self._early) if peer is self._peer else 0):
            ufrag, candidate = self._early.popleft()
            await self._place(peer, ufrag, candidate)
        return answer

    async def answer(self, wait_s: float) -> str | None:
        """The answer to the newest offer; None if it is not there after `wait_s`.

        Raises:
            InvalidOffer: the offer turned out to be impossible to answer.
            PortsExhausted: there was no port for its peer.
        """
        try:
            async with asyncio.timeout(wait_s):
                return await self._newest_answer()
        except TimeoutError:
            return None

    async def _newest_answer(self) -> str | None:
        while not self._closed:
            await self._offered.wait()
            answering = self._answering
            if answering is None:
                break
            await asyncio.wait({answering})
            if answering is self._answering:
                return answering.result()
        return None

    async def add_candidates(self, batch: IceCandidates) -> None:
        """Add the client's candidates; those of an offer that has yet to come are kept for it."""
        peer = self._peer if self._peer is not None and self._peer.answered else None
        for entry in batch.candidates:
            candidate = parse_candidate(entry.candidate)
            if candidate is None:
                continue
            candidate.sdpMid, candidate.sdpMLineIndex = entry.sdp_mid, entry.sdp_mline_index
            if entry.sdp_mid is None and entry.sdp_mline_index is None:
                candidate.sdpMLineIndex = 0
            await self._place(peer, candidate_ufrag(entry), candidate)

    async def _place(self, peer: Peer | None, ufrag: str | None, candidate: RTCIceCandidate) -> None:
        if peer is not None and (ufrag is None or ufrag in peer.ufrags):
            await peer.add_candidate(candidate)
        else:
            self._early.append((ufrag, candidate))

    # --- messages

    def send(self, message: ServerMessage) -> None:
        """Send in order; dropped while the connection is not open."""
        if self.is_open and self._talk is not None:
            self._talk.send(message)

    def peer_open(self, peer: Peer, channel: Channel) -> None:
        """A channel of the peer has opened; `data` is the one that counts, `control` need not exist."""
        if peer is not self._peer or self._talk is None:
            return
        self._watchdog.alive()
        if channel is Channel.DATA:
            self._open(peer, self._talk)
        self._talk.pump()

    def _open(self, peer: Peer, talk: Conversation) -> None:
        self.is_open = True
        if self.id == FLAT_CONNECTION_ID:
            for viewer in peer.viewers.values():
                viewer.resume()
        self._listener.opened(self)
        while talk.early and self.is_open:
            self._listener.message(self, talk.early.popleft())

    def peer_frame(self, peer: Peer, channel: Channel, payload: str | bytes) -> None:
        """A frame of the peer: any is a sign of life."""
        if peer is not self._peer or self._talk is None:
            return
        self._watchdog.alive()
        message = self._talk.read(channel, payload)
        match message:
            case None | Ping() | ClientStats():
                pass
            case ResumeTrack(name) if name in peer.viewers:
                peer.viewers[name].resume()
            case PauseTrack(name) if name in peer.viewers:
                peer.viewers[name].pause()
            case ResumeTrack() | PauseTrack():
                self._log.info("unknown_track")
            case _ if self.is_open:
                self._listener.message(self, message)
            case _:
                self._talk.early.append(message)

    # --- inbound media

    def publish(self, track: str) -> None:
        """The session has given this connection the publisher's slot: read the track."""
        if self._peer is not None:
            self._peer.publish(track)

    def unpublish(self, track: str) -> None:
        """The slot is withdrawn: read the track no more."""
        if self._peer is not None:
            self._peer.unpublish(track)

    def take(self, track: str) -> NDArray[np.uint8] | tuple[NDArray[np.int16], int] | None:
        """What has come in on a published track: the newest picture, RGB uint8 [height, width, 3], or the samples since
        the last call, int16 [n, channels], with their rate. None where there is nothing."""
        peer = self._peer
        inbound = peer.inbound(track) if peer is not None else None
        if isinstance(inbound, InboundVideo):
            return inbound.take()
        return inbound.take() if isinstance(inbound, InboundAudio) else None

    # --- the end

    def probe(self) -> None:
        """Ask the client for a sign of life; it is given up if it does not answer within seconds."""
        if self.is_open and self._peer is not None and self._probing is None:
            self._probing = self._spawn(self._probe(self._peer))

    async def _probe(self, peer: Peer) -> None:
        answers = await peer.answers()
        self._probing = None
        if not answers:
            self.peer_lost(peer, "no answer")

    def peer_lost(self, peer: Peer, reason: str) -> None:
        """The peer has failed, or the client has closed it."""
        if peer is self._peer:
            self._give_up(reason)

    def _timed_out(self) -> None:
        self._give_up("timeout")

    async def close(self, ended: str | None = None) -> None:
        """Close for good; with `ended`, the client is told why first. Leaves no task."""
        self._closed = True
        if ended is not None and self._talk is not None:
            self._talk.send(SessionEnded(ended))
        self._give_up("closed" if ended is None else "session ended", drain=ended is not None)
        self._offered.set()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _give_up(self, reason: str, *, drain: bool = False) -> None:
        if self._peer is None:
            return
        self._watchdog.stop()
        self._retire(drain=drain)
        self._listener.closed(self, reason)

    def _retire(self, *, drain: bool = False) -> None:
        peer, answering = self._peer, self._answering
        if self._probing is not None:
            self._probing.cancel()
        self._peer = self._talk = self._answering = self._probing = None
        self._offered.clear()
        self.is_open = False
        if peer is not None and answering is not None:
            self._spawn(_close(peer, answering, drain))

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.info("signalling_failed", error=str(error), kind=type(error).__name__)


async def _close(peer: Peer, answering: asyncio.Task[str], drain: bool) -> None:
    await asyncio.wait({answering})  # an answer takes milliseconds; cut short it would leak sockets
    await peer.close(drain=drain)
