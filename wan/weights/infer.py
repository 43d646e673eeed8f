"""The sizes of a network from the shapes of its checkpoint, so that no configuration file is needed beside it."""

from __future__ import annotations

import re

from wan.configs import DiTConfig, TinyVAEConfig, UMT5Config, VAEConfig
from wan.weights.errors import UnsupportedLayout
from wan.weights.files import Checkpoint
from wan.weights.layouts import Named, Part, identify
from wan.weights.moments import LATENT_MEAN, LATENT_STD

FULL_DECODER = 256
"""Width of the released VAE's decoder, of which light ones keep a part."""


def dit_config(checkpoint: Checkpoint, head_dim: int = 128) -> DiTConfig:
    """Sizes of a transformer; the number of heads does not show in shapes, their width is taken as given.

    Raises:
        UnsupportedLayout: not a transformer.
        MissingTensors: a tensor that tells a size is missing.
    """
    named = _of(checkpoint, Part.DIT)
    dim, channels, _, patch, _ = named.shape("patch_embedding.weight")
    return DiTConfig(
        dim=dim,
        ffn_dim=named.shape("blocks.0.ffn.0.weight")[0],
        heads=max(1, dim // head_dim),
        layers=_count(named, r"blocks\.(\d+)\."),
        text_dim=named.shape("text_embedding.0.weight")[1],
        freq_dim=named.shape("time_embedding.0.weight")[1],
        channels=channels,
        patch=patch,
    )


def umt5_config(checkpoint: Checkpoint) -> UMT5Config:
    """Sizes of a text encoder.

    Raises:
        UnsupportedLayout: not a text encoder.
        MissingTensors: a tensor that tells a size is missing.
    """
    named = _of(checkpoint, Part.TEXT)
    vocab, dim = named.shape("token_embedding.weight")
    buckets, heads = named.shape("blocks.0.pos_embedding.embedding.weight")
    return UMT5Config(
        vocab=vocab,
        dim=dim,
        attn_dim=named.shape("blocks.0.attn.q.weight")[0],
        ffn_dim=named.shape("blocks.0.ffn.fc1.weight")[0],
        heads=heads,
        layers=_count(named, r"blocks\.(\d+)\."),
        buckets=buckets,
    )


def vae_config(checkpoint: Checkpoint) -> VAEConfig:
    """Widths of a VAE, pruned or not, with the released moments of the latents.

    The last stage of the decoder has its base width, the first layer of the encoder has the encoder's. A checkpoint
    without an encoder gets the released width for it.

    Raises:
        UnsupportedLayout: not a VAE of Wan2.2.
        MissingTensors: a tensor that tells a size is missing.
    """
    named = _of(checkpoint, Part.VAE)
    channels = named.shape("conv2.weight")[0]
    if channels != len(LATENT_MEAN):
        raise UnsupportedLayout(checkpoint.path, f"its latents have {channels} channels, expected {len(LATENT_MEAN)}")
    base = named.shape("decoder.head.0.gamma")[0]
    widths = [named.shape(f"decoder.upsamples.{stage}.upsamples.0.residual.6.weight")[0] for stage in range(4)]
    sizes = VAEConfig(
        mean=LATENT_MEAN,
        std=LATENT_STD,
        decoder_dim=base,
        decoder_blocks=_count(named, r"decoder\.upsamples\.3\.upsamples\.(\d+)\."),
        multipliers=(widths[3] // base, widths[2] // base, widths[1] // base, widths[0] // base),
    )
    if not has_encoder(named):
        return sizes
    return _with_encoder(sizes, named)


def _with_encoder(sizes: VAEConfig, named: Named) -> VAEConfig:
    return VAEConfig(
        mean=sizes.mean,
        std=sizes.std,
        encoder_dim=named.shape("encoder.conv1.weight")[0],
        decoder_dim=sizes.decoder_dim,
        multipliers=sizes.multipliers,
        encoder_blocks=_count(named, r"encoder\.downsamples\.3\.downsamples\.(\d+)\."),
        decoder_blocks=sizes.decoder_blocks,
    )


def tiny_vae_config(checkpoint: Checkpoint) -> TinyVAEConfig:
    """Sizes of TAEW2.2, and of no other member of its family.

    Raises:
        UnsupportedLayout: another network.
        MissingTensors: a tensor that tells a size is missing.
    """
    named = _of(checkpoint, Part.TINY_VAE)
    first, last = named.shape("decoder.1.weight"), named.shape("decoder.22.weight")
    widths = (first[0], *(named.shape(f"decoder.{place}.weight")[0] for place in (8, 14, 20)))
    config = TinyVAEConfig()
    if widths != config.widths or first[1] != config.channels or last[0] != config.outputs:
        raise UnsupportedLayout(
            checkpoint.path,
            f"a decoder of {first[1]} channels to {last[0]} over widths {widths}; TAEW2.2 is of {config.channels} to "
            f"{config.outputs} over {config.widths}",
        )
    return config


def pruning(config: VAEConfig) -> float:
    """Part of the released decoder's width that a light VAE lacks: 0 for the full one."""
    return 1 - config.decoder_dim / FULL_DECODER


def has_encoder(named: Named) -> bool:
    """Whether a VAE checkpoint can encode too."""
    return any(name.startswith("encoder.") for name in named.theirs)


def _of(checkpoint: Checkpoint, part: Part) -> Named:
    named = identify(checkpoint)
    if named.layout.part is not part:
        raise UnsupportedLayout(checkpoint.path, f"a {named.layout.part}, expected a {part}")
    return named


def _count(named: Named, pattern: str) -> int:
    """One more than the largest number that the pattern finds in the names."""
    return 1 + max((int(match[1]) for name in named.theirs if (match := re.match(pattern, name))), default=-1)
