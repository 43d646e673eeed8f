"""Encoded pictures to CMAF: an initialisation and one fragment, by libavformat's mp4 muxer.

Every segment has a muxer of its own: whatever is written before the first packet is the initialisation, the rest the
fragment. The initialisations of one stream are equal, the fragments follow each other by their decode times.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from typing import NamedTuple

import av

from cluster.media.encoder import VIDEO_CLOCK, Packet

_FLAGS = "cmaf+frag_custom+empty_moov+default_base_moof+frag_discont+skip_trailer"
_TIME_BASE = Fraction(1, VIDEO_CLOCK)


class Cmaf(NamedTuple):
    """`init` followed by fragments in their order is a playable file."""

    init: bytes
    fragment: bytes


def mux(packets: Sequence[Packet], first: int, number: int, fps: int) -> Cmaf:
    """A segment of H.264 (Annex B), one packet a picture; the first is a keyframe with its parameter sets.

    `first` counts the recording's pictures before the segment, `number` its segments. The packets, which others are
    sending, are copied. Parameter sets stay in the keyframes too: an encoder that was opened anew may use others.

    Raises:
        av.FFmpegError: the packets are no such stream.
    """
    out = BytesIO()
    with (
        av.open(BytesIO(bytes(packets[0])), format="h264") as source,
        av.open(out, "w", format="mp4", options={"movflags": _FLAGS, "fragment_index": str(number + 1)}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        stream.time_base = _TIME_BASE
        target.start_encoding()
        head = out.tell()
        for place, packet in enumerate(packets, first):
            copy: Packet = av.Packet(bytes(packet))
            copy.stream, copy.time_base = stream, _TIME_BASE
            copy.pts = copy.dts = place * VIDEO_CLOCK // fps
            copy.duration = (place + 1) * VIDEO_CLOCK // fps - copy.pts
            copy.is_keyframe = packet.is_keyframe
            target.mux_one(copy)
    data = out.getvalue()
    return Cmaf(data[:head], data[head:])
