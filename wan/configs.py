"""Sizes of the Wan building blocks, free of torch; the defaults are the released ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DiTConfig:
    """Sizes of the transformer; the defaults are Wan2.2-TI2V-5B."""

    dim: int = 3072
    ffn_dim: int = 14336
    heads: int = 24
    layers: int = 30
    text_dim: int = 4096
    text_len: int = 512
    freq_dim: int = 256
    channels: int = 48
    patch: int = 2
    eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.heads


@dataclass(frozen=True, slots=True)
class UMT5Config:
    """Sizes of the encoder; the defaults are umt5-xxl."""

    vocab: int = 256384
    dim: int = 4096
    attn_dim: int = 4096
    ffn_dim: int = 10240
    heads: int = 64
    layers: int = 24
    buckets: int = 32
    max_distance: int = 128
    eps: float = 1e-6


@dataclass(frozen=True, slots=True)
class VAEConfig:
    """Widths of the VAE; the defaults are the released one. `mean` and `std`, one per channel, normalise latents."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    encoder_dim: int = 160
    decoder_dim: int = 256
    multipliers: tuple[int, int, int, int] = (1, 2, 4, 4)
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    channels: int = 48


@dataclass(frozen=True, slots=True)
class TinyVAEConfig:
    """TAEW2.2: widths before the first stage and after each; the defaults are the released ones."""

    channels: int = 48
    widths: tuple[int, int, int, int] = (256, 128, 64, 64)
    growth: tuple[int, int, int] = (1, 2, 2)
    """By how much each stage multiplies the frames."""
    blocks: int = 3
    """Memory blocks of a stage."""
    outputs: int = 12
    """Three colours of 2x2 pixels."""
