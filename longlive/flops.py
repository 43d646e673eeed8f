"""How much arithmetic each stage of a preset is: a multiplication and an addition count as two operations.

Products of matrices, convolutions and attention are counted; norms, activations and other passes over memory are not:
they are far below a hundredth.
"""

from __future__ import annotations

from dataclasses import dataclass

from longlive.convolutions import convolutions
from longlive.presets import LATENTS_PER_CHUNK, Preset
from longlive.slots import SLOTS


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations. `forward` and `commit` are by visible slots, the current chunk's included, from one;
    `first_latent` and `later_latent` are the decoder's."""

    forward: tuple[int, ...]
    commit: tuple[int, ...]
    first_latent: int
    later_latent: int
    steps: int

    def decode(self, fresh: bool) -> int:
        """All latents of a chunk."""
        return (self.first_latent if fresh else self.later_latent) + (LATENTS_PER_CHUNK - 1) * self.later_latent

    def chunk(self, slots: int, fresh: bool) -> int:
        """Steps, commit and decoding."""
        return self.steps * self.forward[slots - 1] + self.commit[slots - 1] + self.decode(fresh)


def flops(preset: Preset) -> Flops:
    """All but the text, which depends on its length (`text_flops`)."""
    window = range(1, SLOTS + 1)
    return Flops(
        forward=tuple(_forward(preset, slots) for slots in window),
        commit=tuple(_commit(preset, slots) for slots in window),
        first_latent=_decode(preset, first=True),
        later_latent=_decode(preset, first=False),
        steps=preset.options.steps,
    )


def text_flops(preset: Preset, tokens: int) -> int:
    """A prompt of `tokens` tokens, encoded, and the keys and values of each block's cross-attention made of it."""
    text, dit = preset.text, preset.dit
    linears = 4 * text.dim * text.attn_dim + 3 * text.dim * text.ffn_dim
    encoder = text.layers * (2 * tokens * linears + 4 * tokens**2 * text.attn_dim)
    embedding = dit.text_dim * dit.dim + dit.dim**2
    return encoder + 2 * dit.text_len * (embedding + dit.layers * 2 * dit.dim**2)


def _forward(preset: Preset, slots: int) -> int:
    dit = preset.dit
    patch = dit.channels * dit.patch**2
    time = LATENTS_PER_CHUNK * (dit.freq_dim * dit.dim + 7 * dit.dim**2)
    ends = 2 * (2 * preset.tokens * patch * dit.dim + time)
    return ends + dit.layers * (_enter(preset) + _leave(preset, slots))


def _commit(preset: Preset, slots: int) -> int:
    """Of the last block only what makes keys and values, and no head."""
    dit = preset.dit
    head = 2 * preset.tokens * dit.channels * dit.patch**2 * dit.dim
    return _forward(preset, slots) - head - _leave(preset, slots)


def _enter(preset: Preset) -> int:
    """A block up to its attention to the window: three linears."""
    return 2 * preset.tokens * 3 * preset.dit.dim**2


def _leave(preset: Preset, slots: int) -> int:
    """That attention and the rest: its output, the queries and the output of the text's, and the feed-forward."""
    dit = preset.dit
    keys = slots * preset.tokens + dit.text_len
    linears = 3 * dit.dim**2 + 2 * dit.dim * dit.ffn_dim
    return 4 * preset.tokens * keys * dit.dim + 2 * preset.tokens * linears


def _decode(preset: Preset, *, first: bool) -> int:
    """One latent: the convolutions, and the VAE's attention among the positions of its one frame."""
    _, _, height, width = preset.latent_shape
    places = height * width
    macs = sum(conv.macs * (conv.first if first else conv.later) * conv.scale**2 for conv in convolutions(preset))
    attended = preset.vae.decoder_dim * preset.vae.multipliers[3] if preset.options.decoder == "wan" else 0
    return 2 * macs * places + 4 * places**2 * attended
