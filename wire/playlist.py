"""HLS media playlists (RFC 8216) of clips: what the published clients, hls.js and Safari read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from urllib.parse import urlencode

CLIPS_PATH = "/clips"
INIT_NAME = "init.mp4"
EVENTS_NAME = "events.jsonl"

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
INIT_TYPE = "video/mp4"
SEGMENT_TYPE = "video/iso.segment"
EVENTS_TYPE = "application/jsonl"


def segment_name(number: int) -> str:
    """The file name of a segment; clients know by its ending that it needs the initialisation."""
    return f"chunk_{number:05d}.m4s"


def playlist_url(session_id: str, epoch: int, start_s: float, end_s: float) -> str:
    """Path and query of a clip's playlist; times are seconds of the recording's media time."""
    query = {"session_id": session_id, "recording": epoch, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}"}
    return f"{CLIPS_PATH}?{urlencode(query)}"


def media_playlist(init_uri: str, segments: Iterable[tuple[str, float]]) -> str:
    """The playlist of a finished clip: URIs with their durations in seconds, in order."""
    listed = list(segments)
    longest = max(math.ceil(duration_s) for _, duration_s in listed)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{longest}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="{init_uri}"',
    ]
    for uri, duration_s in listed:
        lines += [f"#EXTINF:{duration_s:.6f},", uri]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])
