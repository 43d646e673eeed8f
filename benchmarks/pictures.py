"""The numbered pictures of `tests.support.stretch` as a model, for clients that want a whole cluster before them.

It is found as every model is, by an entry point: `installed` puts one in the way of this process.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from models.contract import Geometry, ModelSpec, Track, VideoFormat
from models.echo import EchoDirector, EchoModel, EchoReplica, EchoStream, EffectChanged
from models.media import Inputs, Media, VideoFrames
from models.registry import GROUP
from tests.support.stretch import FPS, HEIGHT, WIDTH, picture

NAME = "pictures"
CHUNK = 12


class PicturesStream(EchoStream):
    """Chunks of pictures, numbered from 0 on."""

    def decode(self, latents: Inputs) -> Iterator[Media]:
        """Half a second of them."""
        assert self._plan is not None
        first = self._plan.chunk * CHUNK
        yield VideoFrames("main_video", np.stack([picture(first + i) for i in range(CHUNK)]))


class PicturesReplica(EchoReplica):
    """There is nothing to load."""

    def open(self) -> PicturesStream:
        """A fresh stream."""
        return PicturesStream()


class PicturesModel(EchoModel):
    """The plug; what else there is of a session is that of `echo`."""

    spec = ModelSpec(
        name=NAME,
        description="A camera moving over a texture, with grain, every picture numbered.",
        tracks=(Track("main_video", "video", "out", VideoFormat(WIDTH, HEIGHT, FPS)),),
        commands=(),
        messages=(EffectChanged,),
        geometry=Geometry(CHUNK, CHUNK),
    )

    def director(self) -> EchoDirector:
        """A fresh director."""
        return EchoDirector()

    def load(self, device: str) -> PicturesReplica:
        """Any device will do."""
        return PicturesReplica()


def model(preset: str, **options: Any) -> PicturesModel:
    """The model; it has one form."""
    return PicturesModel()


@contextmanager
def installed() -> Iterator[None]:
    """The model can be found."""
    with tempfile.TemporaryDirectory() as folder:
        about = Path(folder) / f"llc_{NAME}-0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: llc-{NAME}\nVersion: 0\n")
        (about / "entry_points.txt").write_text(f"[{GROUP}]\n{NAME} = {__name__}:model\n")
        sys.path.append(folder)
        try:
            yield
        finally:
            sys.path.remove(folder)
