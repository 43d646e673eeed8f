"""A session under a hail of frames, from the codec to the director: 2,500 to each model, 50,000 under `make fuzz`.

Everything is real but the network: peers take frames from here and keep what they are given to send.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster.media import connection
from cluster.media.conversation import MAX_HELD
from cluster.media.peer import Peer
from cluster.session import Session
from cluster.settings import PoolSettings
from longlive.schedule import MAX_BEATS
from longlive.spec import CHUNKS_PER_SCENE
from models.contract import CommandError
from tests.cluster.conftest import TENANT, Launch, Scene
from tests.cluster.fuzz_frames import Frames, Protocol, Shot, write
from tests.support.client_frames import read_v0, read_v1
from tests.support.effort import EFFORT
from tests.support.waiting import eventually
from wire.codec import Frame
from wire.frames import Channel, ClipFailed, Command, CommandAccepted, ModelMessage, Ping, Refused, TrackPublished
from wire.http import FLAT_CONNECTION_ID, ClientInfo, Role, SdpOffer
from wire.values import MAX_FRAME_BYTES, plain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180 * EFFORT)]

FRAMES = 2_500 * EFFORT
TURNS_EVERY = 16
"""Frames between two turns of the loop: more than one comes in at a time, and chunks are generated meanwhile."""
REFUSALS = {
    *("invalid_command", "unresolved_upload", "too_many_commands", "forbidden_role"),
    *("invalid_request", "publish_refused", "UNKNOWN_METHOD", "unknown_method"),
}
ORDERS: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "longlive-v2": [("reset", {}, "generation_reset"), ("set_shot", {"prompt": "a dune"}, "shot_set")],
    "echo": [("set_effect", {"effect": "sepia"}, "effect_changed")],
}
"""What a client does next, and what all are told then."""
OFFERS = Path(__file__).parents[1] / "media" / "offers"


class LoopPeer(Peer):
    """A peer without a network."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[Channel] = set()
        self.sent: list[Frame] = []

    async def answer(self) -> str:
        self.answered = True
        return "v=0\r\n"

    async def answers(self) -> bool:
        return True

    def is_open(self, channel: Channel) -> bool:
        return channel in self._open

    def send(self, channel: Channel, payload: str | bytes) -> None:
        self.sent.append(Frame(channel, payload))

    def open(self, *channels: Channel) -> None:
        for channel in channels:
            self._open.add(channel)
            self._tell(self._events.peer_open, channel)

    def take(self, channel: Channel, payload: str | bytes) -> None:
        self._tell(self._events.peer_frame, channel, payload)


class Client:
    """One connection: throws frames, and reads what comes back as strictly as a client would."""

    def __init__(self, session: Session, connection_id: int, protocol: Protocol) -> None:
        self.connection = session.connections.get(connection_id)
        self.protocol = protocol
        self.peer = self.connection._peer
        assert isinstance(self.peer, LoopPeer)
        self._messages = {message.wire_name(): message for message in session._model.spec.messages}
        self._owed: set[str] = set()
        self.refused = 0
        self.seen: set[str] = set()

    def throw(self, shot: Shot) -> None:
        """A frame comes in."""
        if shot.owed is not None:
            self._owed.add(shot.owed)
        self.peer.take(shot.channel, shot.payload)
        self.read()

    def read(self) -> None:
        frames, self.peer.sent = self.peer.sent, []
        for frame in frames:
            assert len(_bytes(frame.payload)) <= MAX_FRAME_BYTES
            self._check(read_v1(frame) if self.protocol == "v1" else read_v0(frame))

    def _check(self, message: Any) -> None:
        match message:
            case ModelMessage(kind, data, request_id):
                self._messages[kind].model_validate_json(json.dumps(plain(data)))
                self.seen.add(kind)
                if "scheduled_shots" in data:
                    documented(plain(data))
                if kind == CommandError.wire_name():
                    self.refused += 1
                    self._owed.discard(data["command"])
            case Refused(code, reason, request_id=request_id):
                assert code in REFUSALS
                assert reason
                self.refused += 1
            case CommandAccepted(request_id) | TrackPublished(_, request_id) | ClipFailed(_, request_id):
                pass
            case _:
                return
        self._owed.discard(request_id or "")

    def has_seen(self, kind: str) -> bool:
        self.read()
        return kind in self.seen

    async def settled(self) -> None:
        """Every command that was owed an answer has had it."""

        def nothing_owed() -> bool:
            self.read()
            return not self._owed

        await eventually(nothing_owed)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "Peer", LoopPeer)


async def clients_of(scene: Scene, model: str) -> tuple[Session, list[Client]]:
    """A session, and clients of both protocols; the first is known by its offer, the last only watches."""
    session_id = await scene.opened(model)
    session = scene.local.session(session_id)
    clients = []
    for name, protocol, role in (
        ("js290_node", "v0", Role.DIRECTOR),
        ("chromium150", "v0", Role.DIRECTOR),
        ("py113", "v1", Role.DIRECTOR),
        ("py113", "v1", Role.VIEWER),
    ):
        flat = name == "js290_node"
        number = FLAT_CONNECTION_ID if flat else await scene.client.create_connection(TENANT, session_id, role)
        offer = SdpOffer.model_validate_json((OFFERS / f"{name}.json").read_text())
        await scene.client.offer(TENANT, session_id, number, offer if flat else unknown(offer), role)
        client = Client(session, number, protocol)
        client.peer.open(*([Channel.DATA] if flat else Channel))
        client.peer.take(*write(protocol, Ping()))
        clients.append(client)
    return session, clients


def unknown(offer: SdpOffer) -> SdpOffer:
    """Without what tells the protocol."""
    sdp = offer.sdp_offer.replace("x-reactor-dc-chunking", "x-another-attribute")
    return offer.model_copy(update={"client_info": ClientInfo(), "sdp_offer": sdp})


def bounded(session: Session, clients: list[Client]) -> None:
    """Nothing that a client can make grow has grown."""
    for client in clients:
        talk = client.connection._talk
        assert talk is not None
        assert max(len(talk._unsent), len(talk._closed_channel), len(talk.early)) <= MAX_HELD
    waiting = [len(inbox._waiting) for inbox in session._dialogue._inboxes.values()]
    assert max(waiting, default=0) <= session._settings.limits.max_waiting_commands
    assert len(session.connections.ids) == len(clients)


@pytest.mark.parametrize("model", ["longlive-v2", "echo"])
async def test_no_frame_breaks_a_session(model: str, launch: Launch, no_network: None) -> None:
    scene = launch(PoolSettings(model=model, min_warm=1))
    session, clients = await clients_of(scene, model)
    hails = [Frames(seed, session._model.spec) for seed in range(len(clients))]
    tracked = 0
    for n in range(FRAMES):
        client, hail = clients[n % len(clients)], hails[n % len(clients)]
        client.throw(hail.next(client.protocol))
        if n % TURNS_EVERY == 0:
            await asyncio.sleep(0)
        if n == FRAMES // 4:
            tracked = len(gc.get_objects())
        if n % 1000 == 0:
            bounded(session, clients)
    for client in clients:
        await client.settled()
        assert client.refused
    assert len(gc.get_objects()) < 1.2 * tracked
    await obeys(session, clients, model)


async def obeys(session: Session, clients: list[Client], model: str) -> None:
    """The session is there as if nothing had been, and takes commands of all who may give them, and of no one else."""
    assert session._ending is None
    *directors, viewer = clients
    for director in directors:
        for number, (name, data, answer) in enumerate(ORDERS[model]):
            for client in clients:
                client.read()
                client.seen.clear()
            director.throw(command(director, name, number, **data))
            await eventually(lambda answer=answer: all(client.has_seen(answer) for client in clients))
    if model == "longlive-v2":
        director.throw(command(director, "start", 9))
        await eventually(lambda: all(client.has_seen("chunk_complete") for client in clients), limit_s=60)
    before = viewer.refused
    viewer.throw(command(viewer, ORDERS[model][0][0], 9))
    await viewer.settled()
    assert viewer.refused == before + 1


def command(client: Client, name: str, number: int, **data: Any) -> Shot:
    request_id = f"order_{number}" if client.protocol == "v1" else None
    frame = write(client.protocol, Command(name, data, request_id=request_id))
    return Shot(frame.channel, frame.payload, request_id)


def documented(state: Mapping[str, Any]) -> None:
    """A state of LongLive-2.0 that the protocol knows."""
    assert state["running"] == (state["started"] and not state["paused"])
    assert state["started"] or not state["paused"]
    assert state["has_prompt"] or not state["started"]
    assert 0 <= state["current_chunk"] < CHUNKS_PER_SCENE
    assert state["session_chunk"] >= 0
    for planned in (state["scheduled_shots"], state["scheduled_scene_cuts"]):
        assert planned == sorted(set(planned))
        assert len(planned) <= MAX_BEATS
        assert min(planned, default=0) >= 0


def _bytes(payload: str | bytes) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload
