"""The loaded model and its streams: the plans of the director, put to the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator

import torch
from torch import Tensor

from longlive.director import LongLivePlan
from longlive.engine import Engine
from longlive.network import Network
from longlive.presets import Preset
from longlive.stamp import stamp
from models.contract import ChunkPlan
from models.media import Inputs, VideoFrames

SNAPSHOT_VERSION = 1


class LongLiveReplica:
    """The `Replica` of `models.contract`."""

    def __init__(self, preset: Preset, device: str) -> None:
        if device == "cpu":
            torch.set_num_threads(preset.threads)
        self._network = Network(preset, device)

    def open(self) -> LongLiveStream:
        """A fresh stream."""
        return LongLiveStream(self._network)


class LongLiveStream:
    """The `Stream` of `models.contract`: an engine, and a count of pictures that no cut and no restart sets back."""

    def __init__(self, network: Network) -> None:
        self._engine: Engine | None = Engine(network)
        self._stamped = network.preset.stamp
        self._frames = 0

    def prepare(self, plan: ChunkPlan) -> None:
        """Take the conditions of a `LongLivePlan`."""
        assert isinstance(plan, LongLivePlan), "a LongLive stream takes the plans of its own director"
        self._opened.prepare(plan.prompt, plan.kind, plan.seed, plan.chunk)

    def generate(self, inputs: Inputs) -> Tensor:
        """The chunk's latents; the model takes no inputs."""
        return self._opened.generate()

    def decode(self, latents: Tensor) -> Iterator[VideoFrames]:
        """One picture, then four at a time, on `main_video`."""
        for rgb in self._opened.decode(latents):
            if self._stamped:
                stamp(rgb, self._frames)
            self._frames += len(rgb)
            yield VideoFrames("main_video", rgb)

    def commit(self) -> None:
        """Make the chunk part of the window."""
        self._opened.commit()

    def snapshot(self) -> bytes:
        """The counters. The window is not among them: a stream restored in mid-scene goes on with an empty one."""
        return json.dumps({"version": SNAPSHOT_VERSION, "frames": self._frames}).encode()

    def restore(self, state: bytes) -> None:
        """Take the counters of a snapshot and begin with an empty window.

        Raises:
            ValueError: not a snapshot of this model and version.
        """
        self._frames = _frames(state)
        self._opened.reset()

    def close(self) -> None:
        """Free the window."""
        self._engine = None

    @property
    def _opened(self) -> Engine:
        assert self._engine is not None, "the stream is closed"
        return self._engine


def _frames(state: bytes) -> int:
    fields = json.loads(state)
    if not isinstance(fields, dict) or fields.get("version") != SNAPSHOT_VERSION:
        raise ValueError(f"not a LongLive snapshot of version {SNAPSHOT_VERSION}")
    frames = fields.get("frames")
    if type(frames) is not int or frames < 0:
        raise ValueError("a LongLive snapshot must count its frames")
    return frames
