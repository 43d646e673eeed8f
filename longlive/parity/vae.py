"""Files of the VAE: latents decoded as a stream and afresh, pictures encoded."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from longlive.parity.difference import Difference, compare
from longlive.parity.golden import CannotCheck, Golden
from wan.causal import Past
from wan.configs import VAEConfig
from wan.vae22 import VAE

PIXELS_PER_LATENT = 16
COLOURS = 3


def vae_config(golden: Golden) -> VAEConfig:
    """The widths of the VAE, and the moments of its latents."""
    multipliers, blocks = golden.setting("dim_mult", list), golden.size("num_res_blocks")
    if len(multipliers) != 4 or not all(type(each) is int and each > 0 for each in multipliers):
        raise CannotCheck(f"its config has dim_mult {multipliers}: this VAE has four stages")
    channels = golden.size("z_dim")
    first, second, third, fourth = multipliers
    return VAEConfig(
        mean=tuple(golden.shaped("in/mean", channels).tolist()),
        std=tuple(golden.shaped("in/std", channels).tolist()),
        encoder_dim=golden.size("dim"),
        decoder_dim=golden.size("dec_dim"),
        multipliers=(first, second, third, fourth),
        encoder_blocks=blocks,
        decoder_blocks=blocks + 1,
        channels=channels,
    )


def differences(golden: Golden) -> Iterator[Difference]:
    """Of `out/stream/<start>`, one stream split where they start; of `out/fresh/<start>`; of `out/encode`."""
    config = vae_config(golden)
    vae = golden.build(lambda: VAE(config))
    yield from _streamed(golden, vae)
    for start, key in golden.numbered(r"out/fresh/(\d+)").items():
        latents = _latents(golden, vae)
        count = -(-_frames(golden, key) // 4)
        _within(key, latents, start, count)
        yield _compare_pictures(golden, key, [vae.decode(clip[start : start + count], Past()) for clip in latents])
    if "out/encode" in golden:
        yield compare(golden, "out/encode", torch.stack([vae.encode(clip) for clip in _pixels(golden)]))


def _streamed(golden: Golden, vae: VAE) -> Iterator[Difference]:
    """What lies between the passes that the file has is decoded too, for the state of the stream."""
    position = 0
    pasts: list[Past] = []
    for start, key in golden.numbered(r"out/stream/(\d+)").items():
        latents = _latents(golden, vae)
        pasts = pasts or [Past() for _ in latents]
        count = -(-_frames(golden, key) // 4)
        _within(key, latents, start, count)
        if start < position:
            raise CannotCheck(f"{key} begins before latent {position}, where the pass before it ends")
        if start > position:
            for clip, past in zip(latents, pasts, strict=True):
                vae.decode(clip[position:start], past)
        position = start + count
        pictures = [vae.decode(clip[start:position], past) for clip, past in zip(latents, pasts, strict=True)]
        yield _compare_pictures(golden, key, pictures)


def _within(key: str, latents: Tensor, start: int, count: int) -> None:
    if not count or start + count > latents.shape[1]:
        raise CannotCheck(f"{key} needs latents {start} to {start + count} of {latents.shape[1]}")


def _latents(golden: Golden, vae: VAE) -> Tensor:
    """[batch, n, channels, h, w]."""
    return golden.shaped("in/latents", None, None, vae.config.channels, None, None)


def _pixels(golden: Golden) -> Tensor:
    """Pictures [batch, 1+4n, 3, 16h, 16w]."""
    pixels = golden.shaped("in/pixels", None, None, None, None, None)
    pixels = pixels if _frames_first(pixels) else pixels.transpose(1, 2)
    _, frames, colours, height, width = pixels.shape
    if colours != COLOURS or frames % 4 != 1 or height % PIXELS_PER_LATENT or width % PIXELS_PER_LATENT:
        raise CannotCheck(f"in/pixels is {list(golden['in/pixels'].shape)}: not 1+4n pictures of whole latents")
    return pixels


def _frames(golden: Golden, key: str) -> int:
    """Pictures of an output."""
    pictures = golden.shaped(key, None, None, None, None, None)
    return pictures.shape[1 if _frames_first(pictures) else 2]


def _frames_first(pictures: Tensor) -> bool:
    """Whether they are [batch, frames, colours, ...]; else [batch, colours, frames, ...]. Never are there 3 frames."""
    return pictures.shape[2] == COLOURS


def _compare_pictures(golden: Golden, key: str, pictures: list[Tensor]) -> Difference:
    ours = torch.stack(pictures)
    return compare(golden, key, ours if _frames_first(golden[key]) else ours.transpose(1, 2))
