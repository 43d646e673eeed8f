"""A stream of the engine, measured: stage by stage, each alone on the device, and then as it runs in service.

The window is full and everything is compiled before anything is measured: as many chunks as there are slots, and two.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.roofline import Clock, Mark
from longlive.engine import Engine, Kind
from longlive.network import Network
from longlive.slots import SLOTS

WARM_UP = SLOTS + 2
SCENES = 3
"""New scenes whose first picture is timed."""
PROMPT = (
    "Golden hour on a wide sandy coast, filmed in a calm documentary style with a slowly gliding camera. A red fox "
    "with a white-tipped tail trots along the edge of the water, leaving prints that the next wave takes away. "
    "Behind it, dunes with pale grass lean in the wind, and far out a small fishing boat crosses the bright reflection "
    "of the low sun. The fox stops, lifts its head, listens, and then goes on, nose down, past driftwood and dark kelp."
)

Samples = dict[str, list[float]]
"""Milliseconds by stage, one for each chunk."""


@dataclass(frozen=True, slots=True)
class Service:
    """The stages as they run in service, commit beside decoding: seconds of each chunk and the pictures of all."""

    chunks: tuple[float, ...]
    pictures: int

    @property
    def fps(self) -> float:
        """Pictures per second."""
        return self.pictures / sum(self.chunks)


class Bench:
    """One stream on a network, with prompts that are never the same twice where they are to be encoded."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._engine = Engine(network)
        self._clock = Clock(network.device)
        self._chunk = 0
        self._prompts = 0
        self._copies: list[tuple[Tensor, Tensor]] = []

    def warm_up(self) -> None:
        """From an empty window to a full one."""
        for number in range(WARM_UP):
            self._prepare("continue" if number else "open", PROMPT)
            pieces = list(self._engine.decode(self._engine.generate()))
            self._engine.commit()
        if self._network.device.type == "cuda":
            self._copies = [self._copy_of(pictures) for pictures in pieces]
        self._clock.wait()

    def stages(self, chunks: int) -> Samples:
        """Each stage with nothing beside it, and the sum without the text, which is encoded once for many chunks."""
        samples: Samples = defaultdict(list)
        for _ in range(chunks):
            self._text(samples)
            self._prepare("continue", PROMPT)
            self._generate(samples)
            self._decode_and_commit(samples)
        parts = [times for stage, times in samples.items() if stage not in ("text", "host copy")]
        return {**samples, "chunk": [sum(times) for times in zip(*parts, strict=True)]}

    def service(self, chunks: int) -> Service:
        """As `cluster.scheduler` does it."""
        seconds, count = [], 0
        with ThreadPoolExecutor(1) as beside:
            for _ in range(chunks):
                start = time.perf_counter()
                self._prepare("continue", PROMPT)
                pieces = self._engine.decode(self._engine.generate())
                committed = beside.submit(self._engine.commit)
                count += sum(len(pictures) for pictures in pieces)
                committed.result()
                self._clock.wait()
                seconds.append(time.perf_counter() - start)
        return Service(tuple(seconds), count)

    def first_pictures(self) -> list[float]:
        """Milliseconds from a new prompt to the first picture of its scene, in host memory."""
        waits = []
        for _ in range(SCENES):
            prompt = self._new_prompt()
            start = time.perf_counter()
            self._prepare("cut", prompt)
            pieces = self._engine.decode(self._engine.generate())
            next(pieces)
            waits.append(1000 * (time.perf_counter() - start))
            for _ in pieces:
                pass
        return waits

    def _text(self, samples: Samples) -> None:
        prompt = self._new_prompt()
        with self._timed(samples, "text"):
            self._network.prompts.get(prompt)

    def _generate(self, samples: Samples) -> None:
        """The steps are the forwards of the transformer; what else happens between them is the sampler's."""
        marks: list[Mark] = []
        hooks = [
            self._network.dit.register_forward_pre_hook(lambda *_: marks.append(self._clock.mark())),
            self._network.dit.register_forward_hook(lambda *_: marks.append(self._clock.mark())),
        ]
        whole: Samples = defaultdict(list)
        with self._timed(whole, "generate"):
            self._latents = self._engine.generate()
        for hook in hooks:
            hook.remove()
        steps = [self._clock.ms(start, end) for start, end in zip(marks[::2], marks[1::2], strict=True)]
        for number, step in enumerate(steps, start=1):
            samples[f"denoise {number}"].append(step)
        samples["sampler"].append(whole["generate"][0] - sum(steps))

    def _decode_and_commit(self, samples: Samples) -> None:
        with self._timed(samples, "VAE decode"):
            for _ in self._engine.decode(self._latents):
                pass
        with self._timed(samples, "host copy"):
            for made, host in self._copies:
                host.copy_(made, non_blocking=True)
        with self._timed(samples, "commit"):
            self._engine.commit()

    def _copy_of(self, pictures: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        made = torch.empty(pictures.shape, dtype=torch.uint8, device=self._network.device)
        return made, torch.empty_like(made, device="cpu", pin_memory=True)

    def _prepare(self, kind: Kind, prompt: str) -> None:
        self._engine.prepare(prompt, kind, 1, self._chunk)
        self._chunk += 1

    def _new_prompt(self) -> str:
        self._prompts += 1
        return f"{PROMPT} Take {self._prompts}."

    @contextmanager
    def _timed(self, samples: Samples, stage: str) -> Iterator[None]:
        self._clock.wait()
        start = self._clock.mark()
        yield
        end = self._clock.mark()
        self._clock.wait()
        samples[stage].append(self._clock.ms(start, end))
