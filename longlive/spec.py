"""LongLive-2.0 as the rest of the system knows it, without its weights."""

from __future__ import annotations

from longlive.protocol import COMMANDS, MESSAGES
from models.contract import Geometry, ModelSpec, Track, VideoFormat

CHUNKS_PER_SCENE = 48
FPS = 24

FRESH = Geometry(first=29, later=29)
"""Each of a chunk's eight latents is four pictures, but the first that a VAE state sees is one: and every chunk is
decoded with a fresh state. It is what clients of the hosted model count on."""
STREAMED = Geometry(first=29, later=32)
"""The VAE state is kept within a scene: no seam between chunks."""


def spec(video: VideoFormat, geometry: Geometry) -> ModelSpec:
    """The model `longlive-v2`, whose one track `main_video` has the format and geometry of the loaded preset."""
    return ModelSpec(
        name="longlive-v2",
        description="LongLive-2.0: text to endless video, directed chunk by chunk with shots and scene cuts.",
        tracks=(Track("main_video", "video", "out", video),),
        commands=COMMANDS,
        messages=MESSAGES,
        geometry=geometry,
    )
