"""Where the networks of a preset come from: weights made by construction, at random, or loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import torch

from longlive import devices
from longlive.initial import initialise_dit, initialise_text, initialise_vae
from longlive.presets import Preset
from longlive.tokenizer import UMT5Tokenizer
from longlive.weights import Found, resolve
from wan.configs import TinyVAEConfig
from wan.dit import DiT
from wan.prompt import HashTokenizer, Tokenizer
from wan.taew22 import TinyVAE
from wan.umt5 import UMT5
from wan.vae22 import VAE
from wan.weights.errors import AmbiguousPart, MissingPart
from wan.weights.files import Checkpoint
from wan.weights.infer import vae_config
from wan.weights.load import examine, verify


@dataclass(frozen=True, slots=True)
class Parts:
    """Networks with weights, and the tokenizer that goes with them."""

    dit: DiT
    vae: VAE | TinyVAE
    text: UMT5
    tokenizer: Tokenizer


def parts(preset: Preset, device: str) -> Parts:
    """What the preset asks for.

    Raises:
        DeviceError: the device will not do.
        WeightsError: the weights will not do.
        ValueError: the preset needs weights and its options name none.
    """
    if preset.options.weights is not None:
        return loaded(preset, preset.options.weights, device)
    seed = _seed(preset)
    devices.check(preset, device)
    return constructed(preset, seed)


def check(preset: Preset, device: str) -> None:
    """Whether `parts` can be expected to succeed, told from names and shapes alone. Raises as `parts`."""
    if preset.options.weights is None:
        _seed(preset)
        devices.check(preset, device)
    else:
        _sources(preset, preset.options.weights, device)


def loaded(preset: Preset, folder: Path, device: str) -> Parts:
    """The weights in a folder: all looked through, and the device's memory counted, before anything is allocated.

    Raises:
        WeightsError: something in the folder is missing, damaged, or not of this preset.
        DeviceError: the device will not do.
    """
    sources = _sources(preset, folder, device)
    tokenizer = UMT5Tokenizer(sources.tokenizer, preset.text.vocab, preset.dit.text_len)
    made = sources.made
    ready = (
        examine(made.dit, sources.dit, sources.lora),
        examine(made.text, sources.text),
        examine(made.vae, sources.decoder),
    )
    places = device, device, preset.options.vae_device or device
    for part, place in zip(ready, places, strict=True):
        part.fill(place, getattr(torch, preset.options.dtype))
    return replace(made, tokenizer=tokenizer)


@dataclass(frozen=True, slots=True)
class _Sources:
    """The checkpoints for a preset, and networks of their sizes without memory."""

    made: Parts
    dit: Checkpoint
    text: Checkpoint
    decoder: Checkpoint
    lora: Checkpoint | None
    tokenizer: Path


def _sources(preset: Preset, folder: Path, device: str) -> _Sources:
    """Raises WeightsError and DeviceError; reads no tensors."""
    found = resolve(folder)
    decoder = _decoder(preset, folder, found)
    if preset.options.decoder == "wan":
        preset = replace(preset, vae=replace(vae_config(decoder), mean=preset.vae.mean, std=preset.vae.std))
    made = _blank(preset, "meta", torch.float32)
    for module, checkpoint in ((made.dit, found.dit), (made.text, found.text), (made.vae, decoder)):
        verify(module, checkpoint)
    devices.check(preset, device)
    return _Sources(made, found.dit, found.text, decoder, _only_lora(folder, found), found.tokenizer)


def _seed(preset: Preset) -> int:
    if preset.weights_seed is None:
        raise ValueError(f"preset {preset.name} needs weights: set its option `weights` to a folder of checkpoints")
    return preset.weights_seed


def _only_lora(folder: Path, found: Found) -> Checkpoint | None:
    if len(found.loras) > 1:
        raise AmbiguousPart(folder, f"several LoRAs: {', '.join(str(lora.path) for lora in found.loras)}")
    return found.loras[0] if found.loras else None


def _decoder(preset: Preset, folder: Path, found: Found) -> Checkpoint:
    wanted, other = found.vae, found.tiny_vae
    if preset.options.decoder == "tiny":
        wanted, other = other, wanted
    if wanted is None:
        assert other is not None, "there is one of the two"
        raise MissingPart(folder, f"no decoder for `decoder={preset.options.decoder}`; there is {other.path}")
    return wanted


def constructed(preset: Preset, seed: int) -> Parts:
    """Weights under which an untrained network already shows something (`longlive.initial`); small presets only."""
    parts = _blank(preset, "cpu", torch.float32)
    assert isinstance(parts.vae, VAE), "the tiny decoder has no constructed weights"
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
        dit, text = DiT(preset.dit), UMT5(preset.text)
        vae = VAE(preset.vae) if preset.options.decoder == "wan" else TinyVAE(TinyVAEConfig())
    for net in (dit, vae, text):
        net.to(dtype).to_empty(device=device).requires_grad_(False).eval()
    return Parts(dit, vae, text, HashTokenizer(preset.text.vocab, preset.dit.text_len))
