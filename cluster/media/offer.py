"""An SDP offer, read and checked: which section carries which track, in which codec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from aiortc import RTCIceCandidate, sdp

from cluster.errors import InvalidOffer
from cluster.media import rtp
from cluster.media.encoder import VideoCodec
from wire.http import IceCandidate, SdpOffer

Kind = Literal["video", "audio"]
MAX_SECTIONS = 32
PARSE_ERRORS = (ValueError, LookupError, AssertionError, AttributeError, TypeError, StopIteration)
"""What aiortc's SDP parser raises on text it does not understand."""
_KINDS: tuple[Kind, ...] = ("video", "audio")
_OUT = ("recvonly", "sendrecv")
_IN = ("sendonly", "sendrecv")


@dataclass(frozen=True, slots=True)
class Section:
    """A media section. `track` is None where nothing flows; `direction` is from the session's side."""

    mid: str
    kind: Kind
    track: str | None = None
    direction: Literal["out", "in"] = "out"
    codec: VideoCodec | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A checked offer. `text` is the SDP without what would only delay or mislead the answer."""

    text: str
    description: sdp.SessionDescription
    sections: tuple[Section, ...]
    ufrags: frozenset[str]


def read_offer(offer: SdpOffer, outputs: Mapping[str, Kind], inputs: Mapping[str, Kind]) -> Offer:
    """Check an offer against the session's tracks, by name and kind.

    Raises:
        InvalidOffer: the text is not SDP, or cannot be answered.
    """
    text = strip(offer.sdp_offer)
    try:
        description = sdp.SessionDescription.parse(text)
        media = description.media
        _check(media)
        names = _mapped(offer, outputs, inputs) if offer.track_mapping else _in_order(media, outputs, inputs)
        sections = tuple(_section(m, kind, names.get(m.rtp.muxId)) for m in media if (kind := _kind(m)) is not None)
    except PARSE_ERRORS as error:
        raise InvalidOffer("the SDP offer cannot be parsed") from error
    return Offer(
        text,
        description,
        sections,
        frozenset(m.ice.usernameFragment for m in media if m.ice and m.ice.usernameFragment),
    )


def strip(text: str) -> str:
    """Drop candidates that cannot be used, and ends of candidates: peer-reflexive ones may come at any time."""
    return "\r\n".join(line for line in text.splitlines() if not _useless(line)) + "\r\n"


def _useless(line: str) -> bool:
    if line.startswith("a=candidate:"):
        return parse_candidate(line.removeprefix("a=")) is None
    return line.startswith("a=end-of-candidates")


def parse_candidate(line: str) -> RTCIceCandidate | None:
    """Read `candidate:…`; None for what is of no use: mDNS names (we cannot resolve them), TCP, RTCP, noise."""
    try:
        candidate = sdp.candidate_from_sdp(line.strip().removeprefix("candidate:"))
    except PARSE_ERRORS:
        return None
    unusable = candidate.protocol.lower() != "udp" or candidate.component != 1 or not 0 < candidate.port < 65_536
    return None if unusable or candidate.ip.endswith(".local") else candidate


def candidate_ufrag(candidate: IceCandidate) -> str | None:
    """The username fragment that a trickled candidate belongs to, if it says so."""
    words = candidate.candidate.split()
    return words[words.index("ufrag") + 1] if "ufrag" in words[:-1] else None


def _check(media: list[sdp.MediaDescription]) -> None:
    """The minimum that an answer needs; aiortc finds some of it missing only later, in a task of its own."""
    if len(media) > MAX_SECTIONS:
        raise InvalidOffer(f"the offer has more than {MAX_SECTIONS} media sections")
    if [m.kind for m in media].count("application") != 1:
        raise InvalidOffer("the offer needs one data-channel section")
    if len({m.rtp.muxId for m in media} - {""}) != len(media):
        raise InvalidOffer("every media section needs a mid of its own")
    for m in media:
        if m.kind not in ("audio", "video", "application"):
            raise InvalidOffer("unknown kind of media section")
        if not (m.ice and m.ice.usernameFragment and m.ice.password and m.dtls and m.dtls.fingerprints):
            raise InvalidOffer("ICE credentials or DTLS fingerprint are missing")
        if m.kind != "application" and not m.rtcp_mux:
            raise InvalidOffer("rtcp-mux is needed")
        if m.kind == "application" and (m.sctp_port is None or m.sctpCapabilities is None):
            raise InvalidOffer("sctp-port or max-message-size is missing")


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    kind: Kind
    direction: Literal["out", "in"]


def _mapped(offer: SdpOffer, outputs: Mapping[str, Kind], inputs: Mapping[str, Kind]) -> dict[str, _Named]:
    named: dict[str, _Named] = {}
    for entry in offer.track_mapping:
        tracks, direction = (outputs, "out") if entry.direction == "recvonly" else (inputs, "in")
        if tracks.get(entry.name) == entry.kind:
            named[entry.mid] = _Named(entry.name, entry.kind, "out" if direction == "out" else "in")
    return named


def _in_order(
    media: Iterable[sdp.MediaDescription], outputs: Mapping[str, Kind], inputs: Mapping[str, Kind]
) -> dict[str, _Named]:
    """Without a mapping: sections take the tracks of their kind and direction in order."""
    free_out = {kind: _names(outputs, kind) for kind in _KINDS}
    free_in = {kind: _names(inputs, kind) for kind in _KINDS}
    named: dict[str, _Named] = {}
    for m in media:
        if (kind := _kind(m)) is None:
            continue
        if m.direction in _OUT and (name := next(free_out[kind], None)) is not None:
            named[m.rtp.muxId] = _Named(name, kind, "out")
        elif m.direction in _IN and (name := next(free_in[kind], None)) is not None:
            named[m.rtp.muxId] = _Named(name, kind, "in")
    return named


def _kind(m: sdp.MediaDescription) -> Kind | None:
    return next((kind for kind in _KINDS if kind == m.kind), None)


def _names(tracks: Mapping[str, Kind], kind: Kind) -> Iterator[str]:
    return (name for name, of in tracks.items() if of == kind)


def _section(m: sdp.MediaDescription, kind: Kind, named: _Named | None) -> Section:
    nothing = Section(m.rtp.muxId, kind)
    if named is None or named.kind != kind or m.direction not in (_OUT if named.direction == "out" else _IN):
        return nothing
    codec = rtp.choose_codec(m) if kind == "video" else None
    if kind == "video" and named.direction == "out" and codec is None:
        raise InvalidOffer(f"{named.name}: neither H.264 nor VP8 is offered")
    return Section(m.rtp.muxId, kind, named.name, named.direction, codec)
