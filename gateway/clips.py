"""Clips and recordings: playlists for those who own the session, segments for whoever has a playlist."""

from __future__ import annotations

import re
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from gateway.auth import OwnSessionDep, WatchedSessionDep
from gateway.capability import Capability, InvalidCapability
from gateway.deps import ClusterDep, SettingsDep
from gateway.openapi import BY_SESSION, refusals
from gateway.versions import check_versions
from wire import playlist
from wire.playlist import CLIPS_PATH, EVENTS_NAME, INIT_NAME, segment_name

RETRY_S = 1

router = APIRouter(prefix=CLIPS_PATH, tags=["clips"])

_SEGMENT = re.compile(r"chunk_(\d{5,9})\.m4s", re.ASCII)
_PLAYLIST: dict[int | str, dict[str, object]] = {
    200: {"content": {playlist.PLAYLIST_TYPE: {"schema": {"type": "string"}}}},
    202: {"description": "The last segment is still being written; ask again after `Retry-After`."},
    410: {"description": "The recording, or the beginning of the clip, is no longer kept."},
    **refusals(*BY_SESSION),
}
_EVENTS: dict[int | str, dict[str, object]] = {
    200: {"content": {playlist.EVENTS_TYPE: {"schema": {"type": "string"}}}},
    **refusals(*BY_SESSION, 410),
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE: dict[int | str, dict[str, object]] = {
    200: {"content": {playlist.INIT_TYPE: _BINARY, playlist.SEGMENT_TYPE: _BINARY}},
    403: {"description": "The URL is not, or no longer, good."},
    410: {"description": "The recording is no longer kept."},
}

Epoch = Annotated[int, Query(alias="recording", ge=0, le=2**53, description="From the clip's `playlist_url`.")]


@router.get("", response_class=Response, responses=_PLAYLIST, dependencies=[Depends(check_versions)])
async def get_playlist(
    own: WatchedSessionDep, cluster: ClusterDep, settings: SettingsDep, epoch: Epoch, start: float, end: float
) -> Response:
    """The HLS playlist of a clip; times are seconds of the recording. 400 for times outside of it."""
    segments = await cluster.clip(own.tenant, own.session_id, epoch, start, end)
    if segments is None:
        return Response(status_code=202, headers={"Retry-After": str(RETRY_S)})
    capability = Capability(own.tenant, own.session_id, epoch, segments[0].number, segments[-1].number)
    token = capability.sign(await cluster.jwt_secret(), int(time.time()) + settings.recording.link_ttl_s)
    base = f"{CLIPS_PATH.strip('/')}/chunks/{token}/"  # relative: the server may be below a path of its proxy
    listed = [(base + segment_name(each.number), each.duration_s) for each in segments]
    text = playlist.media_playlist(base + INIT_NAME, listed)
    return Response(text, media_type=playlist.PLAYLIST_TYPE, headers={"Cache-Control": "no-store"})


@router.get("/events", response_class=Response, responses=_EVENTS, dependencies=[Depends(check_versions)])
async def get_events(own: OwnSessionDep, cluster: ClusterDep, epoch: Epoch) -> Response:
    """The recording's commands and messages, one JSON object a line: media time, kind, type, data."""
    data = await cluster.recorded(own.tenant, own.session_id, epoch, EVENTS_NAME)
    return Response(data, media_type=playlist.EVENTS_TYPE, headers={"Cache-Control": "no-store"})


@router.get("/chunks/{capability}/{name}", response_class=Response, responses=_FILE)
async def get_chunk(cluster: ClusterDep, capability: str, name: str) -> Response:
    """A file of a clip. The URL, from a playlist, is the permission."""
    clip = Capability.read(capability, await cluster.jwt_secret())
    data = await cluster.recorded(clip.tenant, clip.session_id, clip.epoch, _within(clip, name))
    kind = playlist.INIT_TYPE if name == INIT_NAME else playlist.SEGMENT_TYPE
    return Response(data, media_type=kind, headers={"Cache-Control": "private, max-age=3600, immutable"})


def _within(clip: Capability, name: str) -> str:
    """The name, if it is one of the clip's files."""
    match = _SEGMENT.fullmatch(name)
    if name == INIT_NAME or (match is not None and clip.first <= int(match[1]) <= clip.last):
        return name
    raise InvalidCapability("the URL is of another clip")
