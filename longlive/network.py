"""The loaded networks on their devices, as fast as the options of the preset make them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from longlive.compiling import Compiler
from longlive.decoder import Decoder
from longlive.parts import Parts
from longlive.presets import Preset
from longlive.prompts import PromptCache
from wan import fp8, kernels
from wan.backends import choose
from wan.dit import DiT
from wan.taew22 import TinyVAE
from wan.vae22 import VAE


class Network:
    """Transformer, decoder and encoded prompts, shared by all streams of a replica; never written to after loading."""

    def __init__(self, preset: Preset, device: str, parts: Parts, compiler: Compiler | None = None) -> None:
        options = preset.options
        self.preset = preset
        self.device = torch.device(device)
        self.dtype: torch.dtype = getattr(torch, options.dtype)
        self.compiler = compiler or Compiler() if options.compile else None
        self.attention = choose(self.device, self.dtype, options.attention)
        self.dit = self._fast(parts.dit.to(self.device, self.dtype))
        self._vae = _channels_last(parts.vae.to(options.vae_device or self.device, self.dtype))
        self.decoder = Decoder(self._vae, torch.device(options.vae_device or self.device), self.compiler)
        text = parts.text.to(self.device, self.dtype)
        self.prompts = PromptCache(text, parts.tokenizer, self.dit, options.prompts)

    def encode_image(self, image: NDArray[np.uint8]) -> Tensor:
        """RGB [height, width, 3] of any size, stretched to the video's -> a latent [1, 48, height/16, width/16].

        Raises:
            ValueError: the decoder came without an encoder.
        """
        if not isinstance(self._vae, VAE) or not hasattr(self._vae, "encoder"):
            raise ValueError(f"the VAE of preset {self.preset.name} cannot encode: it is a decoder only")
        video = self.preset.video
        pixels = torch.from_numpy(image).to(self._vae.conv2.weight.device).permute(2, 0, 1)[None] / 127.5 - 1
        fitted = F.interpolate(pixels, (video.height, video.width), mode="bilinear", antialias=True)
        return self._vae.encode(fitted.to(self.dtype)).to(self.device)

    def wait(self) -> None:
        """Until the transformer's device has done what this thread asked of it: so that a verb that has returned is
        done, its time is its own, and what fails on the device fails in the verb."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def _fast(self, dit: DiT) -> DiT:
        options = self.preset.options
        attend = self.attention.attend
        dit.use(kernels.triton(attend) if options.kernels == "triton" else kernels.Kernels(attend))
        if options.linears == "fp8":
            fp8.quantise(dit)
        if self.compiler is not None:
            dit.compile_blocks(self.compiler)
        return dit


def _channels_last(vae: VAE | TinyVAE) -> VAE | TinyVAE:
    """The memory order in which convolutions of channels-last activations read their weights without a copy."""
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    for weight in vae.parameters():
        if weight.is_cuda and weight.dim() in orders:
            weight.data = weight.data.contiguous(memory_format=orders[weight.dim()])
    return vae
