"""Where the networks of a preset come from: weights made by construction, at random, or loaded."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import nn

from longlive.initial import initialise_dit, initialise_text, initialise_vae
from longlive.presets import Preset
from wan.dit import DiT
from wan.prompt import HashTokenizer, Tokenizer
from wan.umt5 import UMT5
from wan.vae22 import VAE


@dataclass(frozen=True, slots=True)
class Parts:
    """Networks with weights, and the tokenizer that goes with them."""

    dit: DiT
    vae: VAE
    text: UMT5
    tokenizer: Tokenizer


def parts(preset: Preset, device: str) -> Parts:
    """What the preset asks for.

    Raises:
        ValueError: it needs weights and its options name none.
    """
    if preset.weights_seed is None:
        raise ValueError(f"preset {preset.name} needs weights: set its option `weights` to a folder of checkpoints")
    return constructed(preset, preset.weights_seed)


def constructed(preset: Preset, seed: int) -> Parts:
    """Weights under which an untrained network already shows something (`longlive.initial`); small presets only."""
    parts = _blank(preset, "cpu", torch.float32)
    generator = torch.Generator().manual_seed(seed)
    initialise_dit(parts.dit, preset.vae.decoder_dim, generator)
    initialise_vae(parts.vae, generator)
    initialise_text(parts.text, generator)
    return parts


def random(preset: Preset, device: str, dtype: torch.dtype) -> Parts:
    """Normal weights of unit gain, made on the device: for measuring at any size."""
    parts = _blank(preset, device, dtype)
    for net in (parts.dit, parts.vae, parts.text):
        for weight in net.parameters():
            weight.normal_(0, 1 / sqrt(weight[0].numel()) if weight.dim() > 1 else 1)
    return parts


def _blank(preset: Preset, device: str, dtype: torch.dtype) -> Parts:
    with torch.device("meta"):
        nets = DiT(preset.dit), VAE(preset.vae), UMT5(preset.text)
    dit, vae, text = (_empty(net, device, dtype) for net in nets)
    assert isinstance(dit, DiT)
    assert isinstance(vae, VAE)
    assert isinstance(text, UMT5)
    return Parts(dit, vae, text, HashTokenizer(preset.text.vocab, preset.dit.text_len))


def _empty(net: nn.Module, device: str, dtype: torch.dtype) -> nn.Module:
    return net.to(dtype).to_empty(device=device).requires_grad_(False).eval()
