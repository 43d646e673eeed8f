"""One stream of LongLive-2.0, a chunk at a time: `prepare`, `generate`, `commit`; and `decode` beside them.

prepare(prompt, kind, seed, chunk)   text, positions, noise; a cut empties the window
generate() -> latents                the sampler's steps, each a forward over the window
decode(latents) -> pictures          latent by latent, with a fresh VAE state
commit()                             the clean pass: what later chunks will see of this one
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longlive.cache import KVCache
from longlive.network import Network
from longlive.noise import chunk_noise
from longlive.presets import LATENTS_PER_CHUNK
from longlive.prompts import TRANSITION
from wan.causal import Past
from wan.rope import Rope
from wan.unipc import recipe, sample
from wan.vae22 import unfold

Kind = Literal["open", "continue", "shot", "cut"]

SHOT_STRIDE = 8
"""Latent frames by which the clock of positions jumps at a new shot."""


class VerbOrderError(RuntimeError):
    """A verb came out of turn."""


class Engine:
    """The state of one stream on a loaded network."""

    def __init__(self, network: Network) -> None:
        preset = network.preset
        rows, columns = preset.grid
        self._network = network
        self._recipe = recipe(preset.steps)
        self._rope = Rope(preset.dit.head_dim, rows, columns, network.device)
        self._cache = KVCache(preset.dit, LATENTS_PER_CHUNK * rows * columns, network.device, network.dtype)
        self._next: Literal["prepare", "generate", "commit"] = "prepare"
        self._scene_chunk = 0
        self._shot = 0

    @property
    def window(self) -> tuple[int, ...]:
        """The chunks of the scene in the window's slots."""
        return self._cache.table.chunks

    def prepare(self, prompt: str, kind: Kind, seed: int, chunk: int) -> None:
        """Take the conditions of the next chunk; `chunk` counts over the whole run and, with `seed`, makes the noise.

        `open` and `cut` forget everything, and may come at any time. `shot` is the transition that the model was
        trained on: its literal prefix for this one chunk, a jump of the clock, and the chunk becomes the shot's anchor.
        At the beginning of a scene there is nothing to make a transition from, and a `shot` is like a `continue`.
        """
        if kind in ("open", "cut"):
            self.reset()
        self._turn("prepare", then="generate")
        self._starts_shot = kind == "shot" and self._scene_chunk > 0
        self._shot += self._starts_shot
        first = LATENTS_PER_CHUNK * self._scene_chunk + SHOT_STRIDE * self._shot
        self._text = self._network.prompts.get(TRANSITION + prompt if self._starts_shot else prompt)
        self._rotations = self._rope.at(first, LATENTS_PER_CHUNK)
        self._noise = chunk_noise(seed, chunk, self._network.preset.latent_shape)
        self._cache.enter(self._scene_chunk)

    @torch.inference_mode()
    def generate(self) -> Tensor:
        """Sample the chunk: normalised latents [8, 48, height/16, width/16]."""
        self._turn("generate", then="commit")
        noise = self._noise.to(self._network.device, self._network.dtype)
        self._latents = sample(self._flow, noise, self._recipe)
        return self._latents

    @torch.inference_mode()
    def commit(self) -> None:
        """Replace the chunk's noisy keys and values by those of its clean latents; a new shot's chunk is pinned."""
        self._turn("commit", then="prepare")
        self._network.dit.remember(self._latents, self._times(0), self._text, self._rotations, self._cache)
        if self._starts_shot:
            self._cache.table.pin(self._scene_chunk)
        self._scene_chunk += 1

    def decode(self, latents: Tensor) -> Iterator[NDArray[np.uint8]]:
        """Pictures of a chunk, RGB [n, height, width, 3]: one from the first latent, then four from each."""
        past = Past()
        for index in range(len(latents)):
            yield self._pictures(latents[index : index + 1], past)

    def reset(self) -> None:
        """Begin a scene that remembers nothing; a chunk in hand is dropped."""
        self._cache.reset()
        self._next = "prepare"
        self._scene_chunk = 0
        self._shot = 0

    @torch.inference_mode()
    def _pictures(self, latent: Tensor, past: Past) -> NDArray[np.uint8]:
        folded = self._network.vae.decode_folded(latent, past)
        rgb = unfold((folded * 127.5).add_(128).clamp_(0, 255).to(torch.uint8)).permute(0, 2, 3, 1)
        out: NDArray[np.uint8] = rgb.contiguous().cpu().numpy()
        return out

    def _flow(self, x: Tensor, timestep: int) -> Tensor:
        flow: Tensor = self._network.dit(x, self._times(timestep), self._text, self._rotations, self._cache)
        return flow

    def _times(self, timestep: int) -> Tensor:
        return torch.full((LATENTS_PER_CHUNK,), float(timestep), device=self._network.device)

    def _turn(self, verb: str, then: Literal["prepare", "generate", "commit"]) -> None:
        if verb != self._next:
            raise VerbOrderError(f"{verb} came where {self._next} was due")
        self._next = then
