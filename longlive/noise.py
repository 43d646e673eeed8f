"""The noise of a chunk: an argument of generation, derived anew from (seed, chunk) whenever it is needed."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def chunk_noise(seed: int, chunk: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 on the CPU, whatever the device of the model. `seed` is any integer.

    It is the same everywhere, and any chunk's can be had without drawing those before it.
    """
    digest = hashlib.blake2b(f"{seed}/{chunk}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big", signed=True))
    return torch.randn(shape, generator=generator)
