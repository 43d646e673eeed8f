"""LongLive-2.0 as the rest of the system knows it, without its weights."""

from __future__ import annotations

from longlive.protocol import COMMANDS, MESSAGES
from models.contract import ModelSpec, Track, VideoFormat

CHUNKS_PER_SCENE = 48
FRAMES_PER_CHUNK = 29
FPS = 24


def spec(video: VideoFormat, frames_per_chunk: int) -> ModelSpec:
    """The model `longlive-v2`, whose one track `main_video` has the format and chunk length of the loaded preset."""
    return ModelSpec(
        name="longlive-v2",
        description="LongLive-2.0: text to endless video, directed chunk by chunk with shots and scene cuts.",
        tracks=(Track("main_video", "video", "out", video),),
        commands=COMMANDS,
        messages=MESSAGES,
        frames_per_chunk=frames_per_chunk,
    )
