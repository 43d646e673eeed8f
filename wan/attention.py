"""Attention of a Wan block: causal self-attention over a window of chunks, and cross-attention to the text.

Queries and keys are RMS-normalised over the full model width, before the split into heads.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wan.kernels import Kernels

KeysValues = tuple[Tensor, Tensor]
"""Keys and values, each [tokens, heads, head_dim]."""


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
        self.weight = nn.Parameter(torch.empty(dim))
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


class SelfAttention(Attention):
    """Bidirectional inside the chunk, causal across chunks: the window holds nothing of the future."""

    def project(self, x: Tensor, rotations: Tensor, kernels: Kernels) -> tuple[Tensor, Tensor, Tensor]:
        """x [tokens, dim], rotations of `Rope.at` -> queries, keys and values [tokens, heads, head_dim]."""
        queries = kernels.norm_rotate(self.q(x), self.norm_q.weight, self.norm_q.eps, rotations, self.heads)
        keys = kernels.norm_rotate(self.k(x), self.norm_k.weight, self.norm_k.eps, rotations, self.heads)
        return queries, keys, self.split(self.v(x))


class CrossAttention(Attention):
    """Attention to the text rows, padding rows included, without a mask and without positions."""

    def encode(self, text: Tensor) -> KeysValues:
        """Keys and values of embedded text [rows, dim]; they depend on the prompt only, so callers keep them."""
        return self.split(self.norm_k(self.k(text))), self.split(self.v(text))

    def forward(self, x: Tensor, text: KeysValues) -> Tensor:
        """x [tokens, dim] -> [tokens, dim]."""
        queries = self.split(self.norm_q(self.q(x)))
        q, k, v = (part.transpose(0, 1)[None] for part in (queries, *text))
        out: Tensor = self.o(F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1))
        return out
