"""What files of the transformer have in common: its sizes, its weights, its window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from longlive.parity.golden import CannotCheck, Golden
from wan.configs import DiTConfig
from wan.dit import DiT

AnyDiT = TypeVar("AnyDiT", bound=DiT)

PATCH = DiTConfig().patch


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip of `chunks` chunks of `frames` latent frames [channels, height, width], and the slots of its window."""

    chunks: int
    frames: int
    channels: int
    height: int
    width: int
    slots: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the latents of a chunk."""
        return self.frames, self.channels, self.height, self.width

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens of a frame."""
        return self.height // PATCH, self.width // PATCH

    @property
    def tokens(self) -> int:
        """Tokens of a chunk."""
        rows, columns = self.grid
        return self.frames * rows * columns


def dit_config(golden: Golden) -> DiTConfig:
    """The sizes of the transformer."""
    heads, head_dim = golden.size("heads"), golden.size("head_dim")
    if head_dim % 2:
        raise CannotCheck(f"its config has head_dim {head_dim}: rotary positions need an even one")
    return DiTConfig(
        dim=heads * head_dim,
        ffn_dim=golden.size("ffn"),
        heads=heads,
        layers=golden.size("layers"),
        text_dim=golden.size("text_dim"),
        text_len=golden.size("text_len"),
        freq_dim=golden.size("freq_dim"),
        channels=golden.size("ch"),
    )


def load(golden: Golden, make: Callable[[DiTConfig], AnyDiT]) -> AnyDiT:
    """The transformer with the file's weights, whose release layout has a prefix `model.`"""
    config = dit_config(golden)
    return golden.build(lambda: make(config), "model.")


def clip(golden: Golden, chunks: int) -> Clip:
    """What the config says of a clip of so many chunks."""
    height, width = golden.size("H"), golden.size("W")
    if height % PATCH or width % PATCH:
        raise CannotCheck(f"its config has latents of {height} x {width}, not made of {PATCH} x {PATCH} patches")
    return Clip(chunks, golden.size("nfpb"), golden.size("ch"), height, width, _slots(golden, chunks))


def embedding(golden: Golden, key: str, entry: int) -> Tensor:
    """The text embedding [rows, text_dim] of one entry of the batch, or of all if the tensor has no batch."""
    tensor = golden[key]
    rows = tensor[entry if tensor.shape[0] > 1 else 0] if tensor.dim() == 3 else tensor
    if not is_embedding(golden, rows):
        raise CannotCheck(f"{key} is {list(tensor.shape)}, not a text embedding")
    return rows


def is_embedding(golden: Golden, tensor: Tensor) -> bool:
    """Whether the tensor could be a text embedding, with a batch or without."""
    return (
        tensor.dim() in (2, 3)
        and tensor.shape[-1] == golden.size("text_dim")
        and tensor.shape[-2] <= golden.size("text_len")
    )


def _slots(golden: Golden, chunks: int) -> int:
    """Chunks that the window holds. This engine keeps whole chunks, of which the first is never evicted."""
    frames, local, sink = golden.size("nfpb"), golden.setting("local", int), golden.setting("sink", int)
    if local == -1 or chunks * frames <= local:
        return chunks
    if local % frames or local < 2 * frames:
        raise CannotCheck(f"its config has local {local}: not a window of two or more chunks of {frames} frames")
    if sink != frames:
        raise CannotCheck(f"its config has sink {sink}: here the sink is one chunk, {frames} frames")
    return local // frames
