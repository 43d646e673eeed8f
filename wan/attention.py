"""Attention of a Wan block: causal self-attention over a window of chunks, and cross-attention to the text.

Queries and keys are RMS-normalised over the full model width, before the split into heads.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wan.rope import rotate

KeysValues = tuple[Tensor, Tensor]
"""Keys and values, each [heads, tokens, head_dim]."""


class Window(Protocol):
    """Where the keys and values of earlier chunks live while a chunk is computed."""

    def put(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        """Store the current chunk's rotated keys and values of `layer`, replacing those of an earlier forward of it.

        Returns all that the chunk may see, itself included; the order does not matter, for positions are in the keys.
        """
        ...


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(Tensor(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Any [..., dim]."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Attention(nn.Module):
    """The projections that self- and cross-attention share; parameters q, k, v, o, norm_q, norm_k."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RMSNorm(dim, eps)
        self.norm_k = RMSNorm(dim, eps)

    def split(self, x: Tensor) -> Tensor:
        """[tokens, dim] -> [tokens, heads, head_dim]."""
        return torch.unflatten(x, -1, (self.heads, -1))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Softmax attention with scale 1/sqrt(head_dim), [heads, tokens, head_dim] each -> projected [tokens, dim]."""
        mixed = F.scaled_dot_product_attention(queries[None], keys[None], values[None])[0]
        out: Tensor = self.o(mixed.transpose(0, 1).flatten(1))
        return out


class SelfAttention(Attention):
    """Bidirectional inside the chunk, causal across chunks: the window holds nothing of the future."""

    def remember(self, x: Tensor, rotations: Tensor, window: Window, layer: int) -> KeysValues:
        """Write the keys and values of x [tokens, dim] into the window and return the visible ones."""
        keys = rotate(self.split(self.norm_k(self.k(x))), rotations)
        values = self.split(self.v(x))
        return window.put(layer, keys.transpose(0, 1), values.transpose(0, 1))

    def forward(self, x: Tensor, rotations: Tensor, window: Window, layer: int) -> Tensor:
        """x [tokens, dim], rotations of `Rope.at` -> [tokens, dim]."""
        queries = rotate(self.split(self.norm_q(self.q(x))), rotations).transpose(0, 1)
        return self.attend(queries, *self.remember(x, rotations, window, layer))


class CrossAttention(Attention):
    """Attention to the text rows, padding rows included, without a mask and without positions."""

    def encode(self, text: Tensor) -> KeysValues:
        """Keys and values of embedded text [rows, dim]; they depend on the prompt only, so callers keep them."""
        keys = self.split(self.norm_k(self.k(text))).transpose(0, 1)
        values = self.split(self.v(text)).transpose(0, 1)
        return keys.contiguous(), values.contiguous()

    def forward(self, x: Tensor, text: KeysValues) -> Tensor:
        """x [tokens, dim] -> [tokens, dim]."""
        return self.attend(self.split(self.norm_q(self.q(x))).transpose(0, 1), *text)
