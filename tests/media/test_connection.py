"""Connections, end to end: a real WebRTC client in this process against a real peer."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
import pytest
from aiortc import MediaStreamTrack
from av import AudioFrame, VideoFrame

from cluster.errors import InvalidOffer
from cluster.media import peer
from cluster.media.output import AudioOutput, VideoCodec
from cluster.settings import MediaSettings
from tests.support.blocks import number, picture, pictures
from tests.support.clock import FakeClock
from tests.support.rtc_client import WAIT_S, BadNetwork, Received
from wire.frames import ModelMessage, PublishTrack, TrackPublished
from wire.http import FLAT_CONNECTION_ID, ClientInfo, IceCandidate, IceCandidates

pytestmark = pytest.mark.media


def numbers(received: Received) -> list[int]:
    return [number(rgb) for rgb in received.pictures]


def enough(count: int):
    return lambda received: len(received.pictures) >= count


@pytest.mark.parametrize("codec", list(VideoCodec))
async def test_pictures_commands_and_messages(scene, codec: VideoCodec) -> None:
    client = await scene.join(codecs=[codec])
    assert await client.message("state") == {"greeting": 1002}
    client.command("set_shot", {"prompt": "a dune"})
    await scene.journal.until(lambda j: j.commands() == ["set_shot"])
    scene.video.push(pictures(0, 29))
    await client.received["main_video"].wait(enough(29))
    assert numbers(client.received["main_video"])[:29] == list(range(29))
    assert scene.video.stats.encoded == {codec: 29}


async def test_h264_is_preferred_when_offered(scene) -> None:
    client = await scene.join()
    scene.video.push(pictures(0, 3))
    await client.received["main_video"].wait(enough(3))
    assert set(scene.video.stats.encoded) == {VideoCodec.H264}


async def test_three_viewers_share_one_encode(scene) -> None:
    clients = [await scene.join(1002 + i) for i in range(3)]
    scene.video.push(pictures(0, 20))
    for client in clients:
        await client.received["main_video"].wait(enough(20))
        assert numbers(client.received["main_video"])[:20] == list(range(20))
    assert scene.video.stats.released == 20
    assert scene.video.stats.encoded == {VideoCodec.H264: 20}


async def test_tracks_start_paused(scene) -> None:
    watching = await scene.join(1002)
    paused = await scene.join(1003, resume=False)
    scene.video.push(pictures(0, 10))
    await watching.received["main_video"].wait(enough(10))
    assert paused.received["main_video"].pictures == []


async def test_who_joins_a_paused_session_sees_its_last_picture(scene) -> None:
    scene.video.push(pictures(7, 1))
    await scene.video.wait_below(0)
    client = await scene.join()
    await client.received["main_video"].wait(enough(1))
    assert numbers(client.received["main_video"])[0] == 7
    assert scene.video.stats.encoded == {}


async def test_pause_and_resume(scene) -> None:
    client, other = await scene.join(1002), await scene.join(1003)
    received = client.received["main_video"]
    scene.video.push(pictures(0, 5))
    await received.wait(enough(5))
    client.notify("pause_track", "main_video")
    await scene.settled(client)
    scene.video.push(pictures(100, 10))
    await other.received["main_video"].wait(lambda r: 109 in numbers(r))
    assert not [n for n in numbers(received) if n >= 100]
    client.notify("resume_track", "main_video")
    client.notify("resume_track", "main_video")
    await scene.settled(client)
    scene.video.push(pictures(200, 10))
    await received.wait(lambda r: 209 in numbers(r))
    assert [n for n in numbers(received) if n >= 200] == list(range(200, 210))


async def test_the_flat_path_has_no_control_channel_and_plays_by_itself(scene) -> None:
    info = ClientInfo(sdk_type="js", sdk_version="2.9.0")
    client = await scene.join(FLAT_CONNECTION_ID, resume=False, channels=["data"], client_info=info)
    assert await client.message("state") == {"greeting": FLAT_CONNECTION_ID}
    scene.video.push(pictures(0, 10))
    await client.received["main_video"].wait(enough(10))


async def test_a_second_offer_replaces_the_peer(scene) -> None:
    first = await scene.join()
    connection = scene.connections[1002]
    second = scene.client()
    await second.connect(connection)
    await scene.journal.until(lambda j: j.kinds().count("opened") == 2)
    await scene.resume(second)
    scene.video.push(pictures(0, 5))
    await second.received["main_video"].wait(enough(5))
    await first.received["main_video"].wait(lambda r: r.ended)
    assert "closed" not in scene.journal.kinds()
    await connection.close()
    assert scene.journal.kinds().count("closed") == 1


async def test_the_answer_is_the_newest_offers(scene) -> None:
    connection = scene.connection()
    assert await connection.answer(0.01) is None
    first, second = scene.client(), scene.client()
    connection.offer(await first.offer())
    connection.offer(await second.offer())
    answer = await connection.answer(WAIT_S)
    assert answer is not None
    await second.accept(answer)


async def test_candidates_may_come_before_their_offer(scene) -> None:
    client = scene.client()
    offer = await client.offer()
    lines = [line for line in offer.sdp_offer.splitlines() if line.startswith("a=candidate:")]
    ufrag = next(line for line in offer.sdp_offer.splitlines() if line.startswith("a=ice-ufrag:")).partition(":")[2]
    bare = "\r\n".join(line for line in offer.sdp_offer.splitlines() if line not in lines) + "\r\n"
    connection = scene.connection()
    batch = [IceCandidate(candidate=f"{line[2:]} ufrag {ufrag}", sdp_mid="0") for line in lines]
    stale = IceCandidate(candidate="candidate:1 1 udp 1 192.0.2.9 9 typ host ufrag gone", sdp_mid="0")
    mdns = IceCandidate(candidate=f"candidate:1 1 udp 1 x.local 9 typ host ufrag {ufrag}", sdp_mid="0")
    await connection.add_candidates(IceCandidates(candidates=[*batch, stale, mdns]))
    connection.offer(offer.model_copy(update={"sdp_offer": bare}))
    answer = await connection.answer(WAIT_S)
    assert answer is not None
    await client.accept("\r\n".join(line for line in answer.splitlines() if "a=candidate" not in line) + "\r\n")
    await connection.add_candidates(IceCandidates(candidates=[IceCandidate(candidate="")], is_final=True))


async def test_trickled_candidates_connect(scene) -> None:
    client = scene.client()
    offer = await client.offer()
    lines = [line for line in offer.sdp_offer.splitlines() if line.startswith("a=candidate:")]
    bare = "\r\n".join(line for line in offer.sdp_offer.splitlines() if line not in lines) + "\r\n"
    connection = scene.connection()
    connection.offer(offer.model_copy(update={"sdp_offer": bare}))
    answer = await connection.answer(WAIT_S)
    assert answer is not None
    blind = "\r\n".join(line for line in answer.splitlines() if "candidate" not in line) + "\r\n"
    accepting = asyncio.create_task(client.accept(blind))
    await connection.add_candidates(IceCandidates(candidates=[IceCandidate(candidate=line[2:]) for line in lines]))
    await accepting


async def test_the_answer_mirrors_and_carries_every_candidate(scene) -> None:
    scene.inputs["webcam"] = "video"
    client = scene.client(inputs={"webcam": Camera()})
    connection = scene.connection()
    connection.offer(await client.offer())
    answer = await connection.answer(WAIT_S)
    assert answer is not None
    sections = answer.split("m=")[1:]
    assert [s.split()[0] for s in sections] == ["video", "video", "application"]
    assert "a=sendonly" in sections[0]
    assert "a=recvonly" in sections[1]
    for section in sections:
        assert "a=candidate:" in section
        assert "a=end-of-candidates" in section
        assert "a=setup:active" in section
    ssrcs = {line.split()[0] for line in sections[0].splitlines() if line.startswith("a=ssrc:")}
    assert len(ssrcs) == 2
    assert sum(" msid:" in line for line in sections[0].splitlines()) == 2
    assert "VP8" not in sections[0]


async def test_an_offer_that_cannot_be_read_leaves_the_peer_alone(scene) -> None:
    client = await scene.join()
    connection = scene.connections[1002]
    good = await client.offer()
    for text in ("garbage", good.sdp_offer.replace("a=mid:0", "a=mid:1"), "v=0\r\n"):
        with pytest.raises(InvalidOffer):
            connection.offer(good.model_copy(update={"sdp_offer": text}))
    scene.video.push(pictures(0, 3))
    await client.received["main_video"].wait(enough(3))


async def test_an_offer_that_turns_out_to_be_unanswerable(scene) -> None:
    scene.inputs["mic"] = "audio"
    client = scene.client({"main_video": "video"}, inputs={"mic": Microphone()})
    offer = await client.offer()
    text = offer.sdp_offer
    for codec in ("opus/48000/2", "G722/8000", "PCMU/8000", "PCMA/8000"):
        text = text.replace(codec, "L16/44100/2")
    connection = scene.connection()
    connection.offer(offer.model_copy(update={"sdp_offer": text}))
    with pytest.raises(InvalidOffer):
        await connection.answer(WAIT_S)
    await connection.close()
    assert scene.journal.kinds() == ["closed"]


@pytest.mark.parametrize("codec", list(VideoCodec))
async def test_the_stream_survives_loss_and_reorder(scene, codec: VideoCodec) -> None:
    network = BadNetwork(loss=0.05, reorder=0.05)
    client = await scene.join(codecs=[codec], network=network)
    received = client.received["main_video"]
    for first in range(0, 120, 24):
        scene.video.push(pictures(first, 24))
        await scene.video.wait_below(0.2)
    network.loss = network.reorder = 0.0
    scene.video.push(pictures(120, 24))
    await received.wait(lambda r: 143 in numbers(r))
    seen = numbers(received)
    assert network.lost > 0
    assert network.reordered > 0
    assert seen == sorted(seen), "pictures come in order"
    assert len([n for n in seen if n < 120]) > 60, "pictures keep coming"


async def test_a_client_that_loses_everything_asks_for_a_keyframe(scene) -> None:
    network = BadNetwork(loss=0.0, reorder=0.0)
    client = await scene.join(network=network)
    received = client.received["main_video"]
    scene.video.push(pictures(0, 10))
    await received.wait(enough(5))
    before = scene.video.stats.keyframes
    for transceiver in client.pc.getTransceivers():
        receiver = transceiver.receiver
        (ssrc,) = receiver._RTCRtpReceiver__remote_streams.keys()
        await receiver._send_rtcp_pli(ssrc)
    scene.video.push(pictures(10, 24))
    await received.wait(lambda r: 33 in numbers(r))
    assert scene.video.stats.keyframes == before + 1


async def test_a_silent_client_is_dropped_and_any_frame_counts(scene, clock: FakeClock) -> None:
    connection = scene.connection(clock=clock)
    client = scene.client()
    await client.connect(connection)
    await scene.resume(client)
    clock.now = 15.0
    client.ping()
    await scene.settled(client)
    clock.now = 30.0
    connection._watchdog.check()
    assert connection.is_open
    clock.now = 36.0
    connection._watchdog.check()
    assert not connection.is_open
    assert scene.journal.events[-1] == ("closed", 1002, "timeout")
    await client.received["main_video"].wait(lambda r: r.ended)


async def test_a_client_that_vanishes_in_the_handshake_is_given_up(scene, clock: FakeClock) -> None:
    for connection_id in (1002, 1003):
        connection = scene.connection(connection_id, clock=clock)
        client = scene.client()
        connection.offer(await client.offer())
        assert await connection.answer(WAIT_S) is not None
        await client.close()
    clock.now = 21.0
    for connection in scene.connections.values():
        connection._watchdog.check()
    assert [event for event in scene.journal.events if event[0] != "message"] == [
        ("closed", 1002, "timeout"),
        ("closed", 1003, "timeout"),
    ]


async def test_a_client_may_come_back_on_the_same_id(scene) -> None:
    client = await scene.join()
    connection = scene.connections[1002]
    await client.close()
    await scene.journal.until(lambda j: "closed" in j.kinds())
    again = scene.client()
    await again.connect(connection)
    await scene.resume(again)
    scene.video.push(pictures(0, 3))
    await again.received["main_video"].wait(enough(3))
    assert [kind for kind in scene.journal.kinds() if kind != "message"] == ["opened", "closed", "opened"]


async def test_the_end_is_told_before_the_peer_closes(scene) -> None:
    client = await scene.join()
    connection = scene.connections[1002]
    await connection.close("expired")
    assert await client.message("sessionEnded") == {"reason": "expired"}
    assert scene.journal.events[-1] == ("closed", 1002, "session ended")
    await connection.close()
    assert scene.journal.kinds().count("closed") == 1
    with pytest.raises(InvalidOffer):
        connection.offer(await scene.client().offer())


async def test_a_client_that_reads_no_messages_is_given_up_and_stalls_nobody(scene, monkeypatch) -> None:
    monkeypatch.setattr(peer, "MAX_UNREAD_BYTES", 2**20)
    deaf, other = await scene.join(1002, resume=False), await scene.join(1003, resume=False)

    async def no_acknowledgement() -> None:
        pass

    monkeypatch.setattr(deaf.pc.sctp, "_send_sack", no_acknowledgement)
    for n in range(24):
        for connection in scene.connections.values():
            connection.send(ModelMessage("tick", {"n": n, "text": "x" * 60_000}))
        assert (await other.message("tick"))["n"] == n
    assert scene.journal.events[-1] == ("closed", 1002, "messages not read")
    assert scene.connections[1003].is_open


async def test_messages_wait_until_the_protocol_is_known(scene) -> None:
    unknown = ClientInfo(sdk_type="python", sdk_version="1.13.0")
    client = await scene.join(resume=False, client_info=unknown)
    for i in range(3):
        scene.connections[1002].send(ModelMessage("tick", {"n": i}))
    assert client.raw == []
    client.ping()
    assert await client.message("state") == {"greeting": 1002}
    assert [(await client.message("tick"))["n"] for _ in range(3)] == [0, 1, 2]


async def test_a_speaker_of_v1_is_answered_in_v1(scene) -> None:
    unknown = ClientInfo(sdk_type="python", sdk_version="1.13.0")
    client = await scene.join(resume=False, client_info=unknown)
    client.send("control", bytes.fromhex("10038a010c0a0a") + b"main_video")
    client.send("control", bytes.fromhex("10035200"))
    assert isinstance(await client.frame(), bytes)
    scene.video.push(pictures(0, 5))
    await client.received["main_video"].wait(enough(3))


@pytest.mark.parametrize(
    "payload", ["", "{", "[]", b"\x00\xff", '{"scope":"application"}', '{"type":"request","method":7}', "null" * 1000]
)
async def test_garbage_frames_leave_the_connection_open(scene, payload: str | bytes) -> None:
    client = await scene.join(resume=False)
    for channel in ("data", "control"):
        client.send(channel, payload)
    client.command("start")
    await scene.journal.until(lambda j: "start" in j.commands())
    assert scene.connections[1002].is_open


async def test_pausing_what_does_not_exist_is_harmless(scene) -> None:
    client = await scene.join()
    client.notify("resume_track", "no_such_track")
    client.notify("pause_track", "no_such_track")
    await scene.settled(client)
    assert scene.connections[1002].is_open


class Camera(MediaStreamTrack):
    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(1 / 30)
        self._count += 1
        frame = VideoFrame.from_ndarray(picture(5), format="rgb24")
        frame.pts, frame.time_base = self._count * 3000, Fraction(1, 90_000)
        return frame


class Microphone(MediaStreamTrack):
    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(0.02)
        tone = (8000 * np.sin((np.arange(960) + 960 * self._count) / 48_000 * 2 * np.pi * 400)).astype(np.int16)
        frame = AudioFrame.from_ndarray(np.repeat(tone, 2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._count * 960, Fraction(1, 48_000)
        self._count += 1
        return frame


async def taken(connection, track: str):
    async with asyncio.timeout(WAIT_S):
        while (media := connection.take(track)) is None:  # noqa: ASYNC110 - read by looking, as the engine does
            await asyncio.sleep(0.01)
    return media


async def test_inbound_tracks_are_read_once_published(scene) -> None:
    scene.inputs |= {"webcam": "video", "mic": "audio"}
    client = await scene.join(resume=False, inputs={"webcam": Camera(), "mic": Microphone()})
    connection = scene.connections[1002]
    assert connection.take("webcam") is None
    assert connection.take("no_such_track") is None
    request = asyncio.create_task(client.request("publish_track", "webcam"))
    await scene.journal.until(lambda j: any(isinstance(e[2], PublishTrack) for e in j.events))
    connection.send(TrackPublished("webcam", "ctrl_1"))
    assert (await request)["data"] == {}
    connection.publish("webcam")
    connection.publish("mic")
    rgb = await taken(connection, "webcam")
    assert rgb.shape == (176, 320, 3)
    assert number(rgb) == 5
    pcm, rate = await taken(connection, "mic")
    assert (pcm.dtype, pcm.shape[1], rate) == (np.int16, 2, 48_000)
    connection.unpublish("webcam")
    connection.unpublish("mic")
    assert connection.take("webcam") is None
    connection.publish("webcam")
    assert number(await taken(connection, "webcam")) == 5


async def test_audio_reaches_the_client(scene) -> None:
    scene.outputs["main_audio"] = audio = AudioOutput("main_audio")
    client = await scene.join(resume=False, outputs={"main_video": "video", "main_audio": "audio"})
    client.notify("resume_track", "main_audio")
    await scene.settled(client)
    audio.push(np.zeros((48_000, 2), np.int16), 48_000)
    await client.received["main_audio"].wait(lambda r: r.samples >= 30 * 960)


async def test_without_a_mapping_the_order_decides(scene) -> None:
    client = await scene.join(mapping=False)
    scene.video.push(pictures(0, 3))
    await client.received["main_video"].wait(enough(3))


@pytest.fixture
def media_settings() -> MediaSettings:
    return MediaSettings(min_bitrate=1_500_000)
