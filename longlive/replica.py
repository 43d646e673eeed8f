"""The loaded model and its streams: the plans of the director, put to the engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longlive import state
from longlive.devices import losses
from longlive.director import LongLivePlan
from longlive.engine import Engine, warm_up
from longlive.network import Network
from longlive.parts import parts
from longlive.presets import Preset
from longlive.stamp import stamp
from models.contract import ChunkPlan
from models.media import Inputs, VideoFrames


class LongLiveReplica:
    """The `Replica` of `models.contract`."""

    def __init__(self, preset: Preset, device: str) -> None:
        if device == "cpu":
            torch.set_num_threads(preset.options.threads)
        self._network = Network(preset, device, parts(preset, device))
        if preset.options.compile:
            warm_up(self._network)
        weights = str(preset.options.weights or "constructed")
        self.facts = {
            "preset": preset.name,
            "weights": weights,
            "attention": self._network.attention.name,
            "dtype": preset.options.dtype,
        }

    def trial(self) -> float:
        """What one of two chunks takes, on the mean."""
        began = time.perf_counter()
        warm_up(self._network)
        return (time.perf_counter() - began) / 2

    def open(self) -> LongLiveStream:
        """A fresh stream."""
        return LongLiveStream(self._network)


class LongLiveStream:
    """The `Stream` of `models.contract`: an engine, and a count of pictures that no cut and no restart sets back."""

    def __init__(self, network: Network) -> None:
        self._engine: Engine | None = Engine(network)
        self._preset = network.preset
        self._dtype = network.dtype
        self._frames = 0

    def prepare(self, plan: ChunkPlan) -> None:
        """Take the conditions of a `LongLivePlan`."""
        assert isinstance(plan, LongLivePlan), "a LongLive stream takes the plans of its own director"
        with losses():
            self._opened.prepare(plan.prompt, plan.kind, plan.seed, plan.chunk)

    def generate(self, inputs: Inputs) -> Tensor:
        """The chunk's latents; the model takes no inputs."""
        with losses():
            return self._opened.generate()

    def decode(self, latents: Tensor) -> Iterator[VideoFrames]:
        """One picture, then four at a time, on `main_video`."""
        with losses():
            pictures = self._opened.decode(latents)
        return self._all(pictures)

    def commit(self) -> None:
        """Make the chunk part of the window."""
        with losses():
            self._opened.commit()

    def snapshot(self, *, exact: bool = False) -> bytes:
        """The counters, and the latents that the options keep or, to be exact, all there are of the scene."""
        return state.encode(self._opened.state(self._frames, whole=exact))

    def restore(self, data: bytes) -> None:
        """Go on where the snapshot was taken.

        Raises:
            ValueError: not a snapshot of this model, version and preset.
        """
        for _ in self.restoring(data):
            pass

    def restoring(self, data: bytes) -> Iterator[None]:
        """The same, a chunk of the snapshot at a time."""
        taken = state.decode(data, self._preset.latent_shape, self._dtype)
        with losses():
            yield from self._opened.restoring(taken)
        self._frames = taken.record.frames

    def contents(self, data: bytes) -> Sequence[str]:
        """The prompts of the chunks that a snapshot keeps. Raises ValueError as `restore`."""
        return [kept.prompt for kept in state.record_of(data).kept]

    def close(self) -> None:
        """Free the window."""
        self._engine = None

    def _all(self, pictures: Iterator[NDArray[np.uint8]]) -> Iterator[VideoFrames]:
        with losses():
            for rgb in pictures:
                yield self._numbered(rgb)

    def _numbered(self, rgb: NDArray[np.uint8]) -> VideoFrames:
        if self._preset.stamp:
            stamp(rgb, self._frames)
        self._frames += len(rgb)
        return VideoFrames("main_video", rgb)

    @property
    def _opened(self) -> Engine:
        assert self._engine is not None, "the stream is closed"
        return self._engine
