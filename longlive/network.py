"""The three networks of a preset on a device."""

from __future__ import annotations

import torch

from longlive.initial import initialise_dit, initialise_text, initialise_vae
from longlive.presets import Preset
from longlive.prompts import PromptCache
from wan.dit import DiT
from wan.prompt import HashTokenizer
from wan.umt5 import UMT5
from wan.vae22 import VAE


class Network:
    """Transformer, VAE and encoded prompts, shared by all streams of a replica; never written to after loading."""

    def __init__(self, preset: Preset, device: str) -> None:
        self.preset = preset
        self.device = torch.device(device)
        self.dtype = torch.float32
        generator = torch.Generator().manual_seed(preset.weights_seed)
        with torch.device("meta"):
            dit, vae, text = DiT(preset.dit), VAE(preset.vae), UMT5(preset.text)
        for net in (dit, vae, text):
            net.to_empty(device="cpu").requires_grad_(False).eval()
        initialise_dit(dit, preset.vae.decoder_dim, generator)
        initialise_vae(vae, generator)
        initialise_text(text, generator)
        self.dit = dit.to(self.device)
        self.vae = vae.to(self.device)
        tokenizer = HashTokenizer(preset.text.vocab, preset.dit.text_len)
        self.prompts = PromptCache(text.to(self.device), tokenizer, self.dit, preset.prompts)
