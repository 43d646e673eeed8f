"""The autoregressive loop on the transformer: one chunk of latents after another, over a window of earlier ones.

It knows texts as keys and values, noise and latents; prompts, seeds and pictures are the engine's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longlive.cache import KVCache
from longlive.slots import SLOTS
from wan.attention import KeysValues
from wan.dit import DiT
from wan.rope import Rope
from wan.unipc import Recipe, sample

SHOT_STRIDE = 8
"""Latent frames by which the clock of positions jumps at a new shot."""


class Rollout:
    """One stream's window and counters.

    `latents` is the number of latent frames of a chunk on a `grid` of rows and columns of tokens; `pins` says whether
    a shot's first chunk stays in the window as long as the shot does.
    """

    def __init__(
        self,
        dit: DiT,
        recipe: Recipe,
        grid: tuple[int, int],
        latents: int,
        *,
        slots: int = SLOTS,
        shot_stride: float = SHOT_STRIDE,
        pins: bool = True,
    ) -> None:
        weight = dit.patch_embedding.weight
        rows, columns = grid
        self._dit = dit
        self._recipe = recipe
        self._device, self._frames = weight.device, latents
        self._shot_stride, self._pins = shot_stride, pins
        self._rope = Rope(dit.config.head_dim, rows, columns, weight.device)
        self.cache = KVCache(dit.config, latents * rows * columns, weight.device, weight.dtype, slots)
        self.chunk = 0
        self.shot = 0

    def reset(self) -> None:
        """Begin a scene that remembers nothing."""
        self.cache.reset()
        self.chunk = 0
        self.shot = 0

    def begin(self, text: list[KeysValues], starts_shot: bool) -> None:
        """Open the next chunk of the scene under a text."""
        self.shot += starts_shot
        self._text, self._starts_shot = text, starts_shot
        self._rotations = self._rope.at(self._frames * self.chunk + self._shot_stride * self.shot, self._frames)
        self.cache.enter(self.chunk)

    def sample(self, noise: Tensor, image: Tensor | None = None) -> Tensor:
        """Noise [frames, channels, height, width] -> clean latents of that shape.

        Given the latent of an image [1, channels, height, width], the chunk's first frame is that latent: it is put
        back before and after each step, and its timestep is 0.
        """

        def flow(x: Tensor, timestep: int) -> Tensor:
            times = self._times(timestep)
            if image is not None:
                times[0] = 0
            return self._forward(x, times)

        def clamp(x: Tensor) -> Tensor:
            return x if image is None else torch.cat([image.to(x), x[1:]])

        return sample(flow, noise, self._recipe, clamp)

    def commit(self, latents: Tensor) -> None:
        """Replace the chunk's noisy keys and values by those of its clean latents; a new shot's chunk is pinned."""
        self._dit.remember(latents, self._times(0), self._text, self._rotations, self.cache)
        if self._starts_shot and self._pins:
            self.cache.table.pin(self.chunk)
        self.chunk += 1

    def recall(self, chunk: int, shot: int, text: list[KeysValues], latents: Tensor) -> None:
        """Write a past chunk into the slot that the cache has made current, as `commit` would have."""
        self._rotations = self._rope.at(self._frames * chunk + self._shot_stride * shot, self._frames)
        self._dit.remember(latents, self._times(0), text, self._rotations, self.cache)

    def _forward(self, x: Tensor, times: Tensor) -> Tensor:
        flow: Tensor = self._dit(x, times, self._text, self._rotations, self.cache)
        return flow

    def _times(self, timestep: int) -> Tensor:
        return torch.full((self._frames,), float(timestep), device=self._device)
