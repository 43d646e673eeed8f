"""Offers of real clients are understood; everything else is refused with one error, whatever it is."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.errors import InvalidOffer
from cluster.media.encoder import VideoCodec
from cluster.media.offer import candidate_ufrag, parse_candidate, read_offer
from wire.http import IceCandidate, SdpOffer, TrackMapping

pytestmark = pytest.mark.fast

OFFERS = Path(__file__).parent / "offers"
OUTPUTS = {"main_video": "video", "main_audio": "audio"}
INPUTS = {"webcam": "video", "mic": "audio"}
HOST = "candidate:1 1 udp 2122194687 192.0.2.2 40511 typ host generation 0 ufrag X2k3 network-id 1"


def captured(name: str) -> SdpOffer:
    return SdpOffer.model_validate(json.loads((OFFERS / f"{name}.json").read_text()))


@pytest.mark.parametrize(
    ("name", "codec", "ufrag"),
    [
        ("chromium150", VideoCodec.H264, "Ojj2"),
        ("js290_node", VideoCodec.VP8, "yQ8n"),
        ("jshead_node", VideoCodec.VP8, None),
        ("py113", VideoCodec.VP8, "X2k3"),
    ],
)
def test_offers_of_the_published_clients(name: str, codec: VideoCodec, ufrag: str | None) -> None:
    offer = read_offer(captured(name), OUTPUTS, INPUTS)
    (section,) = offer.sections
    assert (section.track, section.direction, section.codec) == ("main_video", "out", codec)
    assert ufrag is None or offer.ufrags == {ufrag}


def test_without_a_mapping_tracks_are_taken_by_kind_and_order() -> None:
    offer = captured("py113").model_copy(update={"track_mapping": []})
    assert [s.track for s in read_offer(offer, OUTPUTS, INPUTS).sections] == ["main_video"]


@pytest.mark.parametrize(
    "entry",
    [
        TrackMapping(mid="0", name="no_such_track", kind="video", direction="recvonly"),
        TrackMapping(mid="7", name="main_video", kind="video", direction="recvonly"),
        TrackMapping(mid="0", name="webcam", kind="video", direction="sendonly"),
        TrackMapping(mid="0", name="main_audio", kind="audio", direction="recvonly"),
    ],
)
def test_a_mapping_that_does_not_fit_leaves_the_section_idle(entry: TrackMapping) -> None:
    offer = captured("py113").model_copy(update={"track_mapping": [entry]})
    assert [s.track for s in read_offer(offer, OUTPUTS, INPUTS).sections] == [None]


def test_candidates_of_no_use_are_dropped() -> None:
    offer = captured("js290_node")
    text = offer.sdp_offer.replace("192.0.2.2 44019", "0a1b2c.local 44019") + "a=end-of-candidates\r\n"
    stripped = read_offer(offer.model_copy(update={"sdp_offer": text}), OUTPUTS, INPUTS).text
    assert " tcp " in offer.sdp_offer
    assert not [word for word in (" tcp ", ".local", "end-of-candidates") if word in stripped]
    assert "a=candidate:3077952869 1 udp" in stripped


@pytest.mark.parametrize(
    "text", ["", "candidate:", HOST.replace("192.0.2.2", "ab.local"), HOST.replace(" udp ", " tcp "), HOST[:30]]
)
def test_useless_candidates(text: str) -> None:
    assert parse_candidate(text) is None


def test_a_candidate_says_which_offer_it_belongs_to() -> None:
    assert candidate_ufrag(IceCandidate(candidate=HOST)) == "X2k3"
    assert candidate_ufrag(IceCandidate(candidate=HOST.split(" generation")[0])) is None
    candidate = parse_candidate(HOST)
    assert candidate is not None
    assert (candidate.ip, candidate.port) == ("192.0.2.2", 40511)


BROKEN = {
    "not SDP": lambda text: "GET / HTTP/1.1",
    "no data channel": lambda text: text[: text.index("m=application")],
    "no fingerprint": lambda text: text.replace("a=fingerprint:", "a=x-"),
    "no ICE password": lambda text: text.replace("a=ice-pwd:", "a=x-"),
    "no DTLS role": lambda text: text.replace("a=setup:actpass", "a=x"),
    "bad DTLS role": lambda text: text.replace("a=setup:actpass", "a=setup:holdconn"),
    "no rtcp-mux": lambda text: text.replace("a=rtcp-mux\r\n", ""),
    "no mid": lambda text: text.replace("a=mid:", "a=x-"),
    "equal mids": lambda text: text.replace("a=mid:1", "a=mid:0"),
    "no codec of ours": lambda text: text.replace("VP8", "VP7").replace("H264", "H261"),
    "no SCTP port": lambda text: text.replace("a=sctp-port:", "a=x-"),
    "too many sections": lambda text: text + text[text.index("m=video") : text.index("m=application")] * 40,
    "a forbidden payload type": lambda text: text.replace("SAVPF 96", "SAVPF 72"),
}


@pytest.mark.parametrize("breaking", BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_answered_is_refused(breaking) -> None:
    offer = captured("chromium150")
    with pytest.raises(InvalidOffer):
        read_offer(offer.model_copy(update={"sdp_offer": breaking(offer.sdp_offer) or "x"}), OUTPUTS, INPUTS)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(st.sampled_from(["chromium150", "py113", "js290_node"]), st.data())
def test_mutilated_offers_are_understood_or_refused(name: str, data: st.DataObject) -> None:
    lines = captured(name).sdp_offer.splitlines()
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(lines) - 1))
        cut = data.draw(st.integers(0, len(lines[at])))
        lines[at] = lines[at][:cut] + data.draw(st.text(max_size=8))
    with contextlib.suppress(InvalidOffer):
        read_offer(SdpOffer(sdp_offer="\r\n".join(lines) or "x"), OUTPUTS, INPUTS)


@given(st.text(min_size=1))
def test_noise_is_refused(text: str) -> None:
    with pytest.raises(InvalidOffer):
        read_offer(SdpOffer(sdp_offer=text), OUTPUTS, INPUTS)
