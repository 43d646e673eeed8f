"""One stream of LongLive-2.0, a chunk at a time: `prepare`, `generate`, `commit`; and `decode` beside the last.

prepare(prompt, kind, seed, chunk)   text, positions, noise; a cut empties the window
generate() -> latents                the sampler's steps, each a forward over the window
decode(latents) -> pictures          latent by latent, on a thread and a CUDA stream of its own
commit()                             the clean pass: what later chunks will see of this one
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longlive.network import Network
from longlive.noise import chunk_noise
from longlive.presets import LATENTS_PER_CHUNK
from longlive.prompts import TRANSITION
from longlive.rollout import Rollout
from longlive.state import Kept, Record, State
from wan.causal import Past
from wan.unipc import recipe

MOVABLE_CHUNKS = 64
"""A scene of so many chunks can be moved exactly though snapshots keep the window alone. Their latents take 173 MB of
the host's memory at 1280×704 in bfloat16; committing them again takes a clean pass each."""

Kind = Literal["open", "continue", "shot", "cut"]


def warm_up(network: Network) -> None:
    """Make two chunks for nobody: after them a network that compiles has met all that it will ever meet."""
    engine = Engine(network)
    for chunk in range(2):
        engine.prepare("", "continue", 0, chunk)
        for _ in engine.decode(engine.generate()):
            pass
        engine.commit()


class VerbOrderError(RuntimeError):
    """A verb came out of turn."""


class Engine:
    """The state of one stream on a loaded network."""

    def __init__(self, network: Network) -> None:
        options = network.preset.options
        self._network = network
        self._rollout = Rollout(network.dit, recipe(options.steps), network.preset.grid, LATENTS_PER_CHUNK)
        self._past = Past() if options.stream else network.decoder.scratch
        self._scene: list[tuple[Kept, Tensor]] = []
        self._seed, self._session_chunk = 0, 0
        self._next: Literal["prepare", "generate", "commit"] = "prepare"

    @property
    def window(self) -> tuple[int, ...]:
        """The chunks of the scene in the window's slots."""
        return self._rollout.cache.table.chunks

    @torch.inference_mode()
    def prepare(self, prompt: str, kind: Kind, seed: int, chunk: int, image: NDArray[np.uint8] | None = None) -> None:
        """Take the conditions of the next chunk; `chunk` counts over the whole run and, with `seed`, makes the noise.

        `open` and `cut` forget everything, and may come at any time. `shot` is the transition that the model was
        trained on: its literal prefix for this one chunk, a jump of the clock, and the chunk becomes the shot's anchor.
        At the beginning of a scene there is nothing to make a transition from, and a `shot` is like a `continue`.
        An `image`, RGB [height, width, 3] of any size, is the first picture of a scene; later chunks take none.

        Raises:
            VerbOrderError: a chunk is in hand, and no new scene begins.
            ValueError: an image, where the decoder came without an encoder.
        """
        latent = None if image is None else self._network.encode_image(image)
        if kind in ("open", "cut"):
            self.reset()
        self._turn("prepare", then="generate")
        first = self._rollout.chunk == 0
        assert image is None or first, "only the first chunk of a scene begins with an image"
        self._starts_shot = kind == "shot" and not first
        self._prompt = TRANSITION + prompt if self._starts_shot else prompt
        self._seed, self._session_chunk = seed, chunk
        self._fresh = first or not self._network.preset.options.stream
        self._image = latent
        self._rollout.begin(self._network.prompts.get(self._prompt), self._starts_shot)
        self._network.wait()

    @torch.inference_mode()
    def generate(self) -> Tensor:
        """Sample the chunk: normalised latents [8, 48, height/16, width/16]."""
        self._turn("generate", then="commit")
        noise = chunk_noise(self._seed, self._session_chunk, self._network.preset.latent_shape)
        latents = self._rollout.sample(noise.to(self._network.device), self._image)
        self._latents = latents.to(self._network.dtype)
        self._network.wait()
        return self._latents

    @torch.inference_mode()
    def commit(self) -> None:
        """Replace the chunk's noisy keys and values by those of its clean latents; a new shot's chunk is pinned."""
        self._turn("commit", then="prepare")
        rollout = self._rollout
        kept = Kept(chunk=rollout.chunk, shot=rollout.shot, starts_shot=self._starts_shot, prompt=self._prompt)
        self._commit(kept, self._latents)
        self._network.wait()

    def decode(self, latents: Tensor) -> Iterator[NDArray[np.uint8]]:
        """Pictures of a chunk, RGB [n, height, width, 3]: four from each latent, but one from the first that the VAE
        state has seen. To be called before `commit` is; the pictures may be taken while it runs."""
        return self._network.decoder.decode(latents, self._past, self._fresh)

    @torch.inference_mode()
    def reset(self) -> None:
        """Begin a scene that remembers nothing; a chunk in hand is dropped."""
        self._rollout.reset()
        self._scene.clear()
        self._next = "prepare"

    def state(self, frames: int, *, whole: bool = False) -> State:
        """What `restore` needs; to be asked for between chunks, when `frames` pictures have been made in all.

        `whole` is all that is left of the scene, whatever the options keep in snapshots.
        """
        scene = self._scene if whole or self._network.preset.options.history == "scene" else self._in_window()
        if self._next != "prepare":
            raise VerbOrderError(f"a state was asked for where {self._next} was due")
        rollout, table = self._rollout, self._rollout.cache.table
        record = Record(
            frames=frames,
            seed=self._seed,
            session_chunk=self._session_chunk,
            chunks=rollout.chunk,
            shot=rollout.shot,
            slots=list(table.chunks),
            pinned=table.pinned,
            kept=[kept for kept, _ in scene],
        )
        return State(record, tuple(latents for _, latents in scene))

    def restore(self, state: State) -> None:
        """Go on where `state` was taken: exactly, if it keeps the whole scene; else with the window as if it had been
        all that ever was."""
        for _ in self.restoring(state):
            pass

    @torch.inference_mode()
    def restoring(self, state: State) -> Iterator[None]:
        """The same, chunk by chunk: between two others may use the network."""
        self.reset()
        self._seed, self._session_chunk = state.record.seed, state.record.session_chunk
        replay = self._replay if state.exact else self._recall
        yield from replay(state)

    def _replay(self, state: State) -> Iterator[None]:
        for kept, latents in self._moved(state):
            self._look_again(latents, fresh=kept.chunk == 0)
            self._rollout.begin(self._network.prompts.get(kept.prompt), kept.starts_shot)
            self._commit(kept, latents)
            self._network.wait()
            yield

    def _recall(self, state: State) -> Iterator[None]:
        record, rollout = state.record, self._rollout
        window = [(kept, latents) for kept, latents in self._moved(state) if kept.chunk in record.slots]
        for count, (kept, latents) in enumerate(window, start=1):
            rollout.cache.restore([item.chunk for item, _ in window[:count]], pinned=None)
            rollout.recall(kept.chunk, kept.shot, self._network.prompts.get(kept.prompt), latents)
            self._look_again(latents, fresh=count == 1)
            self._network.wait()
            yield
        rollout.cache.restore([item.chunk for item, _ in window], record.pinned)
        rollout.chunk, rollout.shot = record.chunks, record.shot
        self._scene = [(kept, latents.cpu()) for kept, latents in window]

    def _look_again(self, latents: Tensor, fresh: bool) -> None:
        """Bring a VAE state that is kept up to the end of a chunk."""
        if self._network.preset.options.stream:
            for _ in self._network.decoder.decode(latents, self._past, fresh):
                pass

    def _commit(self, kept: Kept, latents: Tensor) -> None:
        self._rollout.commit(latents)
        self._scene.append((kept, latents.cpu()))
        if self._network.preset.options.history == "window" and len(self._scene) > MOVABLE_CHUNKS:
            self._scene = self._in_window()

    def _in_window(self) -> list[tuple[Kept, Tensor]]:
        return [item for item in self._scene if item[0].chunk in self.window]

    def _moved(self, state: State) -> list[tuple[Kept, Tensor]]:
        return [
            (kept, latents.to(self._network.device))
            for kept, latents in zip(state.record.kept, state.latents, strict=True)
        ]

    def _turn(self, verb: str, then: Literal["prepare", "generate", "commit"]) -> None:
        if verb != self._next:
            raise VerbOrderError(f"{verb} came where {self._next} was due")
        self._next = then
