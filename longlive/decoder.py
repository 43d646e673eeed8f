"""The decoding stage: latents to bytes, one latent at a time, beside whatever else the device does.

On a GPU it has a stream of its own, so that a chunk's pictures leave while the chunk is committed; on a device of its
own it leaves the transformer alone altogether. Pictures go to pinned memory, each piece as soon as it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wan.causal import Past
from wan.vae22 import unfold


class DecodesLatents(Protocol):
    """What a VAE is to this stage."""

    def decode_folded(self, latents: Tensor, past: Past) -> Tensor:
        """Normalised latents [n, channels, h, w] -> pictures in [-1, 1], folded 2x2: [k, 12, 8h, 8w]."""
        ...


class Decoder:
    """A VAE on its device, for all streams of a replica, one chunk at a time."""

    def __init__(
        self, vae: DecodesLatents, device: torch.device, compiler: Callable[..., Callable[..., Tensor]] | None
    ) -> None:
        self._decode = compiler(vae.decode_folded) if compiler else vae.decode_folded
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        # Shapes never change: cuDNN may measure its convolutions once and keep the fastest.
        torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark or device.type == "cuda"
        self.scratch = Past()
        """For chunks that begin with a fresh state: one is enough for all streams."""

    def decode(self, latents: Tensor, past: Past, fresh: bool) -> Iterator[NDArray[np.uint8]]:
        """Pictures of a chunk of latents [n, channels, height, width], RGB [k, 16*height, 16*width, 3].

        The first latent of a `fresh` past is one picture, every other is four. On a GPU the call itself puts all the
        work on the stage's stream, behind what made the latents.
        """
        if self._stream is not None:
            return self._enqueue(latents, past, fresh, self._stream)
        return self._one_by_one(latents, past, fresh)

    def _one_by_one(self, latents: Tensor, past: Past, fresh: bool) -> Iterator[NDArray[np.uint8]]:
        for index, latent in enumerate(torch.split(latents, 1)):
            yield self._pictures(latent, past, fresh and index == 0).numpy()

    def _enqueue(
        self, latents: Tensor, past: Past, fresh: bool, stream: torch.cuda.Stream
    ) -> Iterator[NDArray[np.uint8]]:
        made = torch.cuda.current_stream(latents.device).record_event()
        pieces = []
        with torch.cuda.stream(stream):
            stream.wait_event(made)
            for index, latent in enumerate(torch.split(latents.to(self._device, non_blocking=True), 1)):
                pictures = self._pictures(latent, past, fresh and index == 0)
                host = torch.empty(pictures.shape, dtype=pictures.dtype, pin_memory=True)
                host.copy_(pictures, non_blocking=True)
                pieces.append((host, stream.record_event()))
        if latents.device == self._device:
            latents.record_stream(stream)
        return _as_they_come(pieces)

    @torch.inference_mode()
    def _pictures(self, latent: Tensor, past: Past, fresh: bool) -> Tensor:
        if fresh:
            past.restart()
        folded = self._decode(latent, past)
        bytes_ = (folded * 127.5).add_(128).clamp_(0, 255).to(torch.uint8)
        return unfold(bytes_).permute(0, 2, 3, 1).contiguous()


def _as_they_come(pieces: list[tuple[Tensor, torch.cuda.Event]]) -> Iterator[NDArray[np.uint8]]:
    for host, copied in pieces:
        copied.synchronize()
        yield host.numpy()
